//! What is no page of this renderer: requests without the token, under foreign names, and pages that do not keep the
//! protocol. No browser is needed to be that.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Stdio,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{
    demo::{Demo, run},
    processes::{LIMIT, Program},
};
use tungstenite::{
    Message, WebSocket,
    client::IntoClientRequest,
    http::{HeaderValue, Request, StatusCode},
    protocol::frame::coding::CloseCode,
};

use super::{Served, next_log, url};

/// The answer to a request with exactly these lines.
fn answer(served: &Served, lines: &[&str]) -> String {
    let mut stream = TcpStream::connect(served.host()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "{}\r\nConnection: close\r\n\r\n", lines.join("\r\n")).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn status(answer: &str) -> &str {
    answer.split_whitespace().nth(1).expect("it is HTTP")
}

/// What a page of this server asks for.
fn page_request(served: &Served) -> Request<()> {
    let mut request = format!("ws://{}/socket", served.host()).into_client_request().unwrap();
    let headers = request.headers_mut();
    let value = |text: String| HeaderValue::try_from(text).unwrap();
    headers.insert("origin", value(format!("http://{}", served.host())));
    headers.insert("sec-websocket-protocol", value(format!("ringbridge, {}", served.token())));
    request
}

/// A page that is a program.
struct Page(WebSocket<TcpStream>);

impl Page {
    fn open(served: &Served) -> Self {
        let mut page = Self::try_open(served, page_request(served)).expect("it is let in");
        // The renderer may not have reached main yet.
        while page.next_of("session")["session"].is_null() {}
        page
    }

    /// The status of the refusal.
    fn try_open(served: &Served, request: Request<()>) -> Result<Self, StatusCode> {
        let stream = TcpStream::connect(served.host()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                Err(response.status())
            }
            Err(error) => panic!("neither let in nor refused: {error}"),
        }
    }

    /// Once the socket has been closed it fails, which is no matter here.
    fn say(&mut self, text: &str) {
        let _ = self.0.send(Message::text(text));
    }

    /// The next thing of this type that it is told.
    fn next_of(&mut self, kind: &str) -> Value {
        loop {
            if let Message::Text(text) = self.0.read().expect("it is connected") {
                let told: Value = serde_json::from_str(&text).unwrap();
                if told["type"] == kind {
                    return told;
                }
            }
        }
    }

    /// Reads till the end: the code that it was closed with; `None` if the connection was cut.
    fn close_code(&mut self) -> Option<CloseCode> {
        loop {
            match self.0.read() {
                Ok(Message::Close(frame)) => return frame.map(|frame| frame.code),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}

#[test]
fn without_the_token_nobody_gets_in() {
    let served = Served::start(&[]);
    let wrong = "0".repeat(64);
    for protocols in
        ["ringbridge".to_owned(), format!("ringbridge, {wrong}"), served.token().to_owned()]
    {
        let mut request = page_request(&served);
        let protocols = HeaderValue::try_from(protocols).unwrap();
        request.headers_mut().insert("sec-websocket-protocol", protocols);
        assert_eq!(Page::try_open(&served, request).err(), Some(StatusCode::FORBIDDEN));
    }
    let mut request = page_request(&served);
    request.headers_mut().remove("sec-websocket-protocol");
    assert_eq!(Page::try_open(&served, request).err(), Some(StatusCode::FORBIDDEN));
    Page::open(&served);
    let (status, lines) = served.end();
    assert!(status.success());
    assert!(lines.iter().any(|line| line.contains("token 4")), "each was counted: {lines:?}");
}

#[test]
fn another_sites_page_is_refused_though_it_had_the_token() {
    let served = Served::start(&[]);
    let other_name = format!("http://localhost:{}", served.host().rsplit(':').next().unwrap());
    for origin in ["https://evil.example", "null", "http://127.0.0.1", &other_name] {
        let mut request = page_request(&served);
        request.headers_mut().insert("origin", HeaderValue::try_from(origin).unwrap());
        assert_eq!(Page::try_open(&served, request).err(), Some(StatusCode::FORBIDDEN), "{origin}");
    }
    let mut request = page_request(&served);
    request.headers_mut().remove("origin");
    assert_eq!(Page::try_open(&served, request).err(), Some(StatusCode::FORBIDDEN));
}

#[test]
fn a_name_that_was_rebound_to_this_address_is_refused_for_every_path() {
    let served = Served::start(&[]);
    let port = served.host().rsplit(':').next().unwrap();
    for path in ["/", "/electron.js", "/socket", "/nothing"] {
        for host in [
            &format!("evil.example:{port}"),
            "127.0.0.1",
            "127.0.0.1:1",
            &format!("10.0.0.1:{port}"),
        ] {
            let answer =
                answer(&served, &[&format!("GET {path} HTTP/1.1"), &format!("Host: {host}")]);
            assert_eq!(status(&answer), "403", "{path} of {host}");
        }
    }
    for host in [&format!("localhost:{port}"), served.host()] {
        let answer = answer(&served, &["GET / HTTP/1.1", &format!("Host: {host}")]);
        assert_eq!(status(&answer), "200", "{host}");
    }
}

#[test]
fn every_answer_keeps_the_page_to_this_server() {
    let served = Served::start(&[]);
    for (path, expected) in [
        ("/", "200"),
        ("/page.css", "200"),
        ("/electron.js", "200"),
        ("/dashboard.js", "200"),
        ("/x", "404"),
    ] {
        let host = format!("Host: {}", served.host());
        let answer = answer(&served, &[&format!("GET {path} HTTP/1.1"), &host]);
        assert_eq!(status(&answer), expected, "{path}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let head = head.to_lowercase();
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
            "x-frame-options: deny",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(head.contains(header), "{path} lacks {header}:\n{head}");
        }
        assert!(!head.contains("set-cookie"), "other servers of this machine would see it");
        assert!(!body.contains(served.token()));
        for elsewhere in ["http://", "https://", "//cdn"] {
            let outside = body.lines().find(|line| line.contains(elsewhere));
            assert_eq!(outside, None, "{path} is about another server");
        }
    }
}

#[test]
fn what_is_too_long_too_much_or_makes_no_sense_ends_that_page_only() {
    let served = Served::start(&[]);
    let mut honest = Page::open(&served);
    let long = json!({ "type": "send", "channel": "log-message", "value": "x".repeat(70_000) });
    let mut page = Page::open(&served);
    page.say(&long.to_string());
    // The rest of the message may be on its way still, and then the connection is cut.
    assert!(matches!(page.close_code(), Some(CloseCode::Size) | None));

    let mut page = Page::open(&served);
    (0..2000).for_each(|_| page.say(r#"{"type":"frame"}"#));
    assert!(matches!(page.close_code(), Some(CloseCode::Library(4002)) | None));

    let deep = format!(r#"{{"type":"send","channel":"x","value":{}"#, "[".repeat(10_000));
    for nonsense in ["", "null", "{", r#"{"type":"quit"}"#, r#"{"type":"on"}"#, &deep] {
        let mut page = Page::open(&served);
        page.say(nonsense);
        assert_eq!(page.close_code(), Some(CloseCode::Library(4003)), "{nonsense:.40}");
    }
    let mut page = Page::open(&served);
    let _ = page.0.send(Message::binary(vec![0; 10]));
    assert_eq!(page.close_code(), Some(CloseCode::Library(4003)));

    honest.say(r#"{"type":"invoke","id":7,"channel":"get-system-info"}"#);
    assert!(honest.next_of("reply")["value"]["cpuModel"].is_string());
    honest.say(r#"{"type":"send","channel":"log-message","value":"still here"}"#);
    assert_eq!(next_log(&served.main), "still here");
    let (_, lines) = served.end();
    let closed =
        lines.iter().find(|line| line.contains("closed as")).expect("it is in the summary");
    assert!(closed.contains("too long 1, too fast 1, malformed 7"), "{closed}");
}

#[test]
fn a_page_that_asks_too_much_at_once_is_told_so_and_its_questions_end_with_it() {
    let served = Served::start(&[]);
    let mut page = Page::open(&served);
    served.main.signal(Signal::STOP);
    (0..9).for_each(|id| {
        page.say(&json!({ "type": "invoke", "id": id, "channel": "get-system-info" }).to_string())
    });
    let reply = page.next_of("reply");
    assert_eq!(reply["id"], 8);
    let error = reply["error"].as_str().unwrap();
    assert!(error.ends_with("too many invokes of this page are pending"), "{error}");
    drop(page);
    // Another page has places of its own.
    let mut page = Page::open(&served);
    page.say(r#"{"type":"invoke","id":1,"channel":"get-system-info"}"#);
    served.main.signal(Signal::CONT);
    let reply = page.next_of("reply");
    assert_eq!(reply["id"], 1);
    assert!(reply["value"].is_object(), "{reply}");
}

#[test]
fn a_page_gets_a_frame_only_when_it_has_drawn_the_one_before() {
    let served = Served::start(&["--push-interval", "100us"]);
    let mut page = Page::open(&served);
    page.say(r#"{"type":"on","channel":"statistics"}"#);
    page.say(r#"{"type":"frame"}"#);
    page.next_of("frame");
    // It draws for a while. An invoke shows that nothing else was sent meanwhile.
    std::thread::sleep(Duration::from_millis(300));
    page.say(r#"{"type":"invoke","id":1,"channel":"get-system-info"}"#);
    let Message::Text(next) = page.0.read().unwrap() else { panic!("it was told something else") };
    let next: Value = serde_json::from_str(&next).unwrap();
    assert_eq!(next["type"], "reply", "{next}");
    page.say(r#"{"type":"frame"}"#);
    let frame = page.next_of("frame");
    let count = frame["pushes"][0]["count"].as_u64().unwrap();
    assert!(count > 100, "one stands for all that came meanwhile: {count}");
}

#[test]
fn there_are_only_so_many_pages() {
    let served = Served::start(&[]);
    let mut pages: Vec<_> = (0..16).map(|_| Page::open(&served)).collect();
    let refused = Page::try_open(&served, page_request(&served)).err();
    assert_eq!(refused, Some(StatusCode::SERVICE_UNAVAILABLE));
    pages.pop();
    tests::processes::eventually("a place is free again", || {
        Page::try_open(&served, page_request(&served)).is_ok()
    });
}

#[test]
fn pages_are_told_when_the_renderer_ends() {
    let served = Served::start(&[]);
    let mut page = Page::open(&served);
    served.renderer.signal(Signal::TERM);
    assert_eq!(page.close_code(), Some(CloseCode::Away));
    let (status, lines) = served.end();
    assert!(status.success(), "{lines:?}");
}

#[test]
fn other_machines_are_let_in_only_if_that_is_said_twice() {
    let demo = Demo::new();
    let (code, _, errors) = run(&mut demo.page(&["--listen", "0.0.0.0:0"]));
    assert_eq!(code, Some(1));
    assert!(errors.contains("--listen-anywhere"), "{errors}");

    let mut renderer =
        Program::start(&mut demo.page(&["--listen", "0.0.0.0:0", "--listen-anywhere"]));
    assert!(url(&renderer).starts_with("http://0.0.0.0:"));
    renderer.signal(Signal::TERM);
    assert!(renderer.end().success());
}

#[test]
fn what_makes_no_sense_with_a_page_is_refused() {
    let demo = Demo::new();
    let (code, _, errors) = run(&mut demo.page(&["--require-sandbox"]));
    assert_eq!(code, Some(1));
    assert!(errors.contains("sandbox"), "{errors}");
    let (code, _, errors) = run(demo.renderer(&["--listen", "127.0.0.1:0"]).stderr(Stdio::piped()));
    assert_eq!(code, Some(1));
    assert!(errors.contains("--view web"), "{errors}");
}

//! Forged clients: requests without the token, under foreign names, and pages that break the protocol. They are
//! programs, so no browser is needed.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{
    demo::Demo,
    processes::{LIMIT, Program, eventually},
    shorthands::error_of,
};
use tungstenite::{
    Message, WebSocket,
    client::IntoClientRequest,
    http::{HeaderValue, Request, StatusCode},
    protocol::frame::coding::CloseCode,
};

use super::{Served, url};

const INVOKE: &str = r#"{"type":"invoke","id":1,"channel":"get-system-info"}"#;
const FRAME: &str = r#"{"type":"frame"}"#;

/// The status and the text of the answer to a request for a path under this host name.
fn get(served: &Served, path: &str, host: &str) -> (String, String) {
    let mut stream = TcpStream::connect(served.host()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split_whitespace().nth(1).expect("it is HTTP");
    (status.to_owned(), answer)
}

/// The request of this server's page.
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
        let mut page = Self::try_open(served, page_request(served)).expect("it is admitted");
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
            Err(error) => panic!("neither admitted nor refused: {error}"),
        }
    }

    /// Fails once the socket has been closed, which is no error here.
    fn say(&mut self, text: &str) {
        let _ = self.0.send(Message::text(text));
    }

    fn next(&mut self) -> Option<Value> {
        match self.0.read().expect("it is connected") {
            Message::Text(text) => Some(serde_json::from_str(&text).unwrap()),
            _ => None,
        }
    }

    /// The next message of this type.
    fn next_of(&mut self, kind: &str) -> Value {
        loop {
            if let Some(told) = self.next().filter(|told| told["type"] == kind) {
                return told;
            }
        }
    }

    /// The code with which the socket is closed; `None` if the connection is cut.
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

/// Checks that a page is refused whose request has this header, or lacks it.
fn expect_forbidden(served: &Served, header: &'static str, value: Option<&str>) {
    let mut request = page_request(served);
    let headers = request.headers_mut();
    headers.remove(header);
    if let Some(value) = value {
        headers.insert(header, HeaderValue::try_from(value).unwrap());
    }
    let refused = Page::try_open(served, request).err();
    assert_eq!(refused, Some(StatusCode::FORBIDDEN), "{header}: {value:?}");
}

#[test]
fn a_request_without_the_token_is_refused() {
    let served = Served::start(&[]);
    let wrong = format!("ringbridge, {}", "0".repeat(64));
    for protocols in [Some("ringbridge"), Some(&*wrong), Some(served.token()), None] {
        expect_forbidden(&served, "sec-websocket-protocol", protocols);
    }
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
        expect_forbidden(&served, "origin", Some(origin));
    }
    expect_forbidden(&served, "origin", None);
}

#[test]
fn a_name_that_was_rebound_to_this_address_is_refused_for_every_path() {
    let served = Served::start(&[]);
    let port = served.host().rsplit(':').next().unwrap();
    let [evil, other] = ["evil.example", "10.0.0.1"].map(|name| format!("{name}:{port}"));
    for path in ["/", "/electron.js", "/socket", "/nothing"] {
        for host in [&evil, "127.0.0.1", "127.0.0.1:1", &other] {
            assert_eq!(get(&served, path, host).0, "403", "{path} of {host}");
        }
    }
    for host in [&format!("localhost:{port}"), served.host()] {
        assert_eq!(get(&served, "/", host).0, "200", "{host}");
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
        let (status, answer) = get(&served, path, served.host());
        assert_eq!(status, expected, "{path}");
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
fn messages_that_are_too_long_too_many_or_malformed_end_that_page_only() {
    let served = Served::start(&[]);
    let mut honest = Page::open(&served);
    let long = json!({ "type": "send", "channel": "log-message", "value": "x".repeat(70_000) });
    let mut page = Page::open(&served);
    page.say(&long.to_string());
    // The rest of the message may be on its way still, and then the connection is cut.
    assert!(matches!(page.close_code(), Some(CloseCode::Size) | None));

    let mut page = Page::open(&served);
    (0..2000).for_each(|_| page.say(FRAME));
    assert!(matches!(page.close_code(), Some(CloseCode::Library(4002)) | None));

    let deep = format!(r#"{{"type":"send","channel":"x","value":{}"#, "[".repeat(10_000));
    let malformed = ["", "null", "{", r#"{"type":"quit"}"#, r#"{"type":"on"}"#, &deep];
    let binary = Message::binary(vec![0; 10]);
    for message in malformed.map(Message::text).into_iter().chain([binary]) {
        let mut page = Page::open(&served);
        page.0.send(message.clone()).unwrap();
        assert_eq!(page.close_code(), Some(CloseCode::Library(4003)), "{message:.40}");
    }

    honest.say(INVOKE);
    assert!(honest.next_of("reply")["value"]["cpuModel"].is_string());
    honest.say(r#"{"type":"send","channel":"log-message","value":"still here"}"#);
    assert_eq!(served.next_log(), "still here");
    let (_, lines) = served.end();
    let summed = "too long 1, too fast 1, malformed 7";
    assert!(lines.iter().any(|line| line.contains("closed as") && line.contains(summed)));
}

#[test]
fn a_page_with_too_many_invokes_is_told_so_and_they_end_with_it() {
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
    page.say(INVOKE);
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
    page.say(FRAME);
    page.next_of("frame");
    // It draws for a while. The invoke shows that nothing else was sent meanwhile.
    std::thread::sleep(Duration::from_millis(300));
    page.say(INVOKE);
    assert_eq!(page.next().expect("a text")["type"], "reply");
    page.say(FRAME);
    let count = page.next_of("frame")["pushes"][0]["count"].as_u64().unwrap();
    assert!(count > 100, "a frame stands for all pushes since the last one: {count}");
}

#[test]
fn the_number_of_pages_is_limited() {
    let served = Served::start(&[]);
    let mut pages: Vec<_> = (0..16).map(|_| Page::open(&served)).collect();
    let refused = Page::try_open(&served, page_request(&served)).err();
    assert_eq!(refused, Some(StatusCode::SERVICE_UNAVAILABLE));
    pages.pop();
    eventually("a place is free again", || Page::try_open(&served, page_request(&served)).is_ok());
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
fn other_machines_are_admitted_only_with_two_flags_and_senseless_flags_are_refused() {
    let demo = Demo::new();
    for (mut command, named) in [
        (demo.page(&["--listen", "0.0.0.0:0"]), "--listen-anywhere"),
        (demo.page(&["--require-sandbox"]), "sandbox"),
        (demo.renderer(&["--listen", "127.0.0.1:0"]), "--view web"),
    ] {
        let errors = error_of(&mut command);
        assert!(errors.contains(named), "{errors}");
    }
    let mut renderer =
        Program::start(&mut demo.page(&["--listen", "0.0.0.0:0", "--listen-anywhere"]));
    assert!(url(&renderer).starts_with("http://0.0.0.0:"));
    renderer.signal(Signal::TERM);
    assert!(renderer.end().success());
}

//! A real browser without a window: Chromium, driven by chromedriver.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use fantoccini::{Client, ClientBuilder, Locator, wd::Capabilities};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tests::{
    proc::descendants,
    processes::{Killed, LIMIT, has_tool},
};
use tokio::runtime::Runtime;

/// The colours that the page's reader prefers.
#[derive(Clone, Copy)]
pub(crate) enum Scheme {
    Light,
    Dark,
}

/// Chromium with one tab, or several.
pub(crate) struct Browser {
    client: Client,
    runtime: Runtime,
    driver: Driver,
}

/// chromedriver, which ends the browser that it has started.
struct Driver {
    child: Killed,
    port: u16,
}

impl Driver {
    fn start() -> Self {
        let child = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut child = child.expect("it is in the PATH");
        let mut output = BufReader::new(child.stdout.take().expect("it was asked for"));
        let mut port = None;
        let mut line = String::new();
        while port.is_none() && output.read_line(&mut line).expect("it is text") > 0 {
            port = line
                .rsplit_once("started successfully on port ")
                .and_then(|(_, rest)| rest.trim().trim_end_matches('.').parse().ok());
            line.clear();
        }
        Self {
            child: Killed(child),
            port: port.expect("chromedriver says on which port it listens"),
        }
    }
}

impl Browser {
    /// Starts one; `None` if there is none on this machine, which was said.
    pub(crate) fn start(scheme: Scheme) -> Option<Self> {
        if !(has_tool("chromium", "chromium") && has_tool("chromedriver", "chromium-driver")) {
            return None;
        }
        let driver = Driver::start();
        // Blink's numbers for the two.
        let scheme = match scheme {
            Scheme::Dark => 0,
            Scheme::Light => 1,
        };
        let arguments = [
            "--headless=new".to_owned(),
            // Chromium's own sandbox does not work for root, as whom tests run in containers.
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            "--window-size=1280,1150".to_owned(),
            "--js-flags=--expose-gc".to_owned(),
            format!("--blink-settings=preferredColorScheme={scheme}"),
        ];
        let mut capabilities = Capabilities::new();
        capabilities.insert("goog:chromeOptions".to_owned(), json!({ "args": arguments }));
        let runtime = Runtime::new().expect("there are threads");
        let connected = runtime.block_on(
            ClientBuilder::new(HttpConnector::new())
                .capabilities(capabilities)
                .connect(&format!("http://127.0.0.1:{}", driver.port)),
        );
        let client = connected.expect("Chromium can be started");
        Some(Self { client, runtime, driver })
    }

    pub(crate) fn open(&self, url: &str) {
        self.runtime.block_on(self.client.goto(url)).expect("the browser goes there");
    }

    /// Opens another tab, and goes on in that. Returns the names of this and of that.
    pub(crate) fn open_tab(&self, url: &str) -> [fantoccini::wd::WindowHandle; 2] {
        let names = self.runtime.block_on(async {
            let old = self.client.window().await?;
            let new = self.client.new_window(true).await?.handle;
            self.client.switch_to_window(new.clone()).await?;
            Ok::<_, fantoccini::error::CmdError>([old, new])
        });
        self.open(url);
        names.expect("the browser has tabs")
    }

    pub(crate) fn switch_to(&self, tab: &fantoccini::wd::WindowHandle) {
        self.runtime.block_on(self.client.switch_to_window(tab.clone())).expect("the tab is there");
    }

    pub(crate) fn reload(&self) {
        self.runtime.block_on(self.client.refresh()).expect("the page is there");
    }

    /// What a function body returns in the page.
    pub(crate) fn run(&self, script: &str) -> Value {
        let ran = self.runtime.block_on(self.client.execute(script, Vec::new()));
        ran.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// What the promise of an expression comes to: its value, or `{ "error": its message }`.
    pub(crate) fn promise(&self, expression: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1]; \
             Promise.resolve({expression}).then(done, (error) => done({{ error: error.message }}));"
        );
        let ran = self.runtime.block_on(self.client.execute_async(&script, Vec::new()));
        ran.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// The text of an element.
    pub(crate) fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({}).innerText", json!(selector));
        self.run(&script).as_str().unwrap_or_default().to_owned()
    }

    /// Clicks an element, as a pointer would.
    pub(crate) fn click(&self, selector: &str) {
        let clicked = self
            .runtime
            .block_on(async { self.client.find(Locator::Css(selector)).await?.click().await });
        clicked.unwrap_or_else(|error| panic!("{selector}: {error}"));
    }

    /// Types into an element that has the focus, or the one given.
    pub(crate) fn type_into(&self, selector: &str, keys: &str) {
        let typed = self.runtime.block_on(async {
            self.client.find(Locator::Css(selector)).await?.send_keys(keys).await
        });
        typed.unwrap_or_else(|error| panic!("{selector}: {error}"));
    }

    /// Waits until a function body returns `true` in the page.
    pub(crate) fn eventually(&self, what: &str, script: &str) {
        let deadline = Instant::now() + LIMIT;
        while self.run(script) != true {
            assert!(
                Instant::now() < deadline,
                "not within {LIMIT:?}: {what}; the page says:\n{}",
                self.text("body")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until an element's text is this.
    pub(crate) fn shows(&self, selector: &str, text: &str) {
        let script =
            format!("return document.querySelector('{selector}')?.textContent === {}", json!(text));
        self.eventually(&format!("{selector} shows '{text}'"), &script);
    }

    /// Waits until an element's text contains this.
    pub(crate) fn mentions(&self, selector: &str, text: &str) {
        let script = format!(
            "return !!document.querySelector('{selector}')?.textContent.includes({})",
            json!(text)
        );
        self.eventually(&format!("{selector} mentions '{text}'"), &script);
    }

    /// Keeps a picture of the page where a build machine looks for what a run has made.
    pub(crate) fn keep_picture(&self, name: &str) -> PathBuf {
        let png = self.runtime.block_on(self.client.screenshot()).expect("the browser can draw");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in a folder");
        let folder = target.join("ci");
        fs::create_dir_all(&folder).expect("the target folder can be written");
        let path = folder.join(name);
        fs::write(&path, png).expect("the target folder can be written");
        path
    }

    /// The process ids of the browser and of all that it has started.
    pub(crate) fn processes(&self) -> Vec<u32> {
        descendants(self.driver.child.0.id())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver's end would leave the browser behind.
        let _ = self.runtime.block_on(self.client.clone().close());
    }
}

//! A real browser without a window: Chromium, driven by chromedriver.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use fantoccini::{
    Client, ClientBuilder, Locator,
    elements::Element,
    error::CmdError,
    wd::{Capabilities, WindowHandle},
};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tests::{
    proc::descendants,
    processes::{Killed, Lines, has_tool, within},
};
use tokio::runtime::Runtime;

/// The colours that the page's reader prefers, with Blink's numbers for them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scheme {
    Dark = 0,
    Light = 1,
}

/// Chromium with one tab, or several.
pub(crate) struct Browser {
    client: Client,
    runtime: Runtime,
    /// It ends the browser that it has started.
    driver: Killed,
}

/// Starts chromedriver. Returns its port too.
fn start_driver() -> (Killed, u16) {
    let mut command = Command::new("chromedriver");
    command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("it is in the PATH");
    let output = Lines::of(child.stdout.take().expect("a pipe"));
    let port = std::iter::from_fn(|| output.next_text()).find_map(|line| {
        let (_, rest) = line.rsplit_once("started successfully on port ")?;
        rest.trim().trim_end_matches('.').parse().ok()
    });
    (Killed(child), port.expect("chromedriver prints its port"))
}

impl Browser {
    /// Starts one; `None` if this machine has none, of which the test's output tells.
    pub(crate) fn start(scheme: Scheme) -> Option<Self> {
        if !(has_tool("chromium", "chromium") && has_tool("chromedriver", "chromium-driver")) {
            return None;
        }
        let (driver, port) = start_driver();
        // Chromium's own sandbox does not work for root, who runs tests in containers.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--window-size=1280,1150",
            "--js-flags=--expose-gc",
            &format!("--blink-settings=preferredColorScheme={}", scheme as u8),
        ];
        let mut capabilities = Capabilities::new();
        capabilities.insert("goog:chromeOptions".to_owned(), json!({ "args": arguments }));
        let runtime = Runtime::new().expect("there are threads");
        let (mut builder, url) =
            (ClientBuilder::new(HttpConnector::new()), format!("http://127.0.0.1:{port}"));
        let connected = runtime.block_on(builder.capabilities(capabilities).connect(&url));
        let client = connected.expect("Chromium can be started");
        Some(Self { client, runtime, driver })
    }

    /// Does something that must succeed.
    fn must<T>(&self, what: &str, doing: impl Future<Output = Result<T, CmdError>>) -> T {
        self.runtime.block_on(doing).unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    pub(crate) fn open(&self, url: &str) {
        self.must(url, self.client.goto(url));
    }

    /// Opens another tab, and goes on in that. Returns the names of the old one and the new one.
    pub(crate) fn open_tab(&self, url: &str) -> [WindowHandle; 2] {
        let tabs = self.must("a new tab", async {
            let old = self.client.window().await?;
            let new = self.client.new_window(true).await?.handle;
            self.client.switch_to_window(new.clone()).await?;
            Ok([old, new])
        });
        self.open(url);
        tabs
    }

    pub(crate) fn switch_to(&self, tab: &WindowHandle) {
        self.must("another tab", self.client.switch_to_window(tab.clone()));
    }

    pub(crate) fn reload(&self) {
        self.must("reload", self.client.refresh());
    }

    /// Runs a function body in the page and returns its value.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.must(script, self.client.execute(script, Vec::new()))
    }

    /// The value of a promise, or `{ "error": its message }`.
    pub(crate) fn promise(&self, expression: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1]; \
             Promise.resolve({expression}).then(done, (error) => done({{ error: error.message }}));"
        );
        self.must(expression, self.client.execute_async(&script, Vec::new()))
    }

    /// The message with which an invoke fails.
    pub(crate) fn invoke_error(&self, arguments: &str) -> String {
        let result = self.promise(&format!("electron.invoke({arguments})"));
        result["error"].as_str().unwrap_or_else(|| panic!("{arguments}: {result}")).to_owned()
    }

    pub(crate) fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({}).innerText", json!(selector));
        self.run(&script).as_str().unwrap_or_default().to_owned()
    }

    fn find(&self, selector: &str) -> Element {
        self.must(selector, self.client.find(Locator::Css(selector)))
    }

    /// Clicks an element, as a pointer would.
    pub(crate) fn click(&self, selector: &str) {
        self.must(selector, self.find(selector).click());
    }

    pub(crate) fn type_into(&self, selector: &str, keys: &str) {
        self.must(selector, self.find(selector).send_keys(keys));
    }

    /// Waits until a function body returns `true` in the page.
    pub(crate) fn eventually(&self, what: &str, script: &str) {
        let came = within(tests::processes::LIMIT, || self.run(script) == true);
        assert!(came, "not in time: {what}; the page says:\n{}", self.text("body"));
    }

    /// Waits until an element's text is this.
    pub(crate) fn shows(&self, selector: &str, text: &str) {
        let script =
            format!("return document.querySelector('{selector}')?.textContent === {}", json!(text));
        self.eventually(&format!("{selector} shows '{text}'"), &script);
    }

    /// Waits until an element's text contains this.
    pub(crate) fn mentions(&self, selector: &str, text: &str) {
        let element = format!("document.querySelector('{selector}')");
        let script = format!("return !!{element}?.textContent.includes({})", json!(text));
        self.eventually(&format!("{selector} mentions '{text}'"), &script);
    }

    /// Collects what comes on `statistics` from now on in `seen`, and waits for so many.
    pub(crate) fn see_statistics(&self, count: usize) {
        self.run("window.seen = []; electron.on('statistics', stats => window.seen.push(stats));");
        self.see_more_statistics(count);
    }

    /// Waits for so many that are newer.
    pub(crate) fn see_more_statistics(&self, count: usize) {
        self.run("window.seen = []");
        self.eventually("statistics come", &format!("return window.seen.length >= {count}"));
    }

    /// Keeps a picture of the page in the folder for a run's results.
    pub(crate) fn keep_picture(&self, name: &str) -> PathBuf {
        let png = self.must("a picture", self.client.screenshot());
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in a folder");
        let folder = target.join("ci");
        fs::create_dir_all(&folder).expect("the target folder can be written");
        let path = folder.join(name);
        fs::write(&path, png).expect("the target folder can be written");
        path
    }

    /// The process ids of the browser and of all that it has started.
    pub(crate) fn processes(&self) -> Vec<u32> {
        descendants(self.driver.0.id())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver's end would leave the browser behind.
        let _ = self.runtime.block_on(self.client.clone().close());
    }
}

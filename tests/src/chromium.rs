//! Chromium without a window, driven by its DevTools protocol over two pipes: no port is opened. Knows pages, pointers and keys, not
//! what is on the page.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// A browser with one page. It is killed after fifteen minutes, whatever a test waits for.
pub struct Browser {
    child: Child,
    to: File,
    from: File,
    read: Vec<u8>,
    session: String,
    next: u64,
    /// Events that were not waited for.
    events: Vec<Value>,
    _folder: tempfile::TempDir,
}

/// The programs that are looked for.
const NAMES: &[&str] = &["chromium", "chromium-browser", "google-chrome"];

/// The first of the programs that is there; says loudly that a test is skipped where none is.
pub fn found(test: &str) -> Option<&'static str> {
    let there = |name: &&&str| {
        let command = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        command.is_ok_and(|status| status.success())
    };
    let found = NAMES.iter().find(there).copied();
    if found.is_none() {
        eprintln!("skipped: {test}: there is none of {}, so no page was opened in a browser", NAMES.join(", "));
    }
    found
}

impl Browser {
    /// Starts the browser with a page of so many pixels.
    pub fn start(program: &str, width: u32, height: u32) -> Browser {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let (commands, answers) = (path("commands"), path("answers"));
        let made = Command::new("mkfifo").args([&commands, &answers]).status().expect("mkfifo runs");
        assert!(made.success(), "mkfifo failed");
        // the protocol is spoken on the descriptors 3 and 4, which a shell opens
        let script = "exec timeout -s KILL 900 \"$0\" --headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --disable-background-networking \
                      --user-data-dir=\"$3\" --remote-debugging-pipe about:blank 3<\"$1\" 4>\"$2\"";
        let child = Command::new("sh")
            .args(["-c", script, program])
            .args([&commands, &answers, &path("profile")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let to = OpenOptions::new().write(true).open(&commands).expect("the pipe of commands");
        let from = OpenOptions::new().read(true).open(&answers).expect("the pipe of answers");
        let mut browser =
            Browser { child, to, from, read: Vec::new(), session: String::new(), next: 0, events: Vec::new(), _folder: folder };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attached = browser.call("Target.attachToTarget", json!({ "targetId": target["targetId"], "flatten": true }));
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page.enable", "Network.enable", "Runtime.enable"] {
            browser.call(domain, json!({}));
        }
        browser.size(width, height);
        browser
    }

    /// Changes the size of the page.
    pub fn size(&mut self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// Whether scripts of pages run that are opened from now on.
    pub fn scripts(&mut self, run: bool) {
        self.call("Emulation.setScriptExecutionDisabled", json!({ "value": !run }));
    }

    /// Opens a file and waits until it has loaded.
    pub fn open(&mut self, path: &Path) {
        self.events.clear();
        let url = format!("file://{}", path.display());
        self.call("Page.navigate", json!({ "url": url }));
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.receive();
            self.events.push(event);
        }
    }

    /// The addresses that were asked for since the page was opened, and the dialogs that it showed.
    pub fn asked_for(&mut self) -> Vec<String> {
        self.text("'all events have arrived'");
        let address = |event: &Value| match event["method"].as_str()? {
            "Network.requestWillBeSent" => Some(event["params"]["request"]["url"].as_str()?.to_owned()),
            "Page.javascriptDialogOpening" => Some(format!("dialog: {}", event["params"]["message"])),
            "Runtime.exceptionThrown" => Some(format!("exception: {}", event["params"]["exceptionDetails"])),
            _ => None,
        };
        self.events.iter().filter_map(address).collect()
    }

    /// The value of an expression in the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", asked);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// The value of an expression, which is a text.
    pub fn text(&mut self, expression: &str) -> String {
        self.value(expression).as_str().unwrap_or_else(|| panic!("{expression} is not a text")).to_owned()
    }

    /// The value of an expression, which is a number.
    pub fn number(&mut self, expression: &str) -> f64 {
        self.value(expression).as_f64().unwrap_or_else(|| panic!("{expression} is not a number"))
    }

    /// Moves the pointer with its button held.
    pub fn drag(&mut self, from: (f64, f64), to: (f64, f64)) {
        let mut mouse = |kind: &str, (x, y): (f64, f64), buttons: u32| {
            let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "buttons": buttons, "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        };
        mouse("mousePressed", from, 1);
        for step in 1..=4 {
            let part = f64::from(step) / 4.0;
            mouse("mouseMoved", (from.0 + part * (to.0 - from.0), from.1 + part * (to.1 - from.1)), 1);
        }
        mouse("mouseReleased", to, 0);
        // away from everything, so that nothing is named
        mouse("mouseMoved", (1.0, 1.0), 0);
    }

    /// Presses a key.
    pub fn key(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.call("Input.dispatchKeyEvent", json!({ "type": kind, "key": key, "code": key }));
        }
    }

    /// What two frames later stands in a rectangle of the window, as a PNG file in base64.
    pub fn picture(&mut self, x: f64, y: f64, width: f64, height: f64) -> String {
        self.text("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done('drawn'))))");
        // the protocol counts from the corner of the page
        let (left, top) = (self.number("window.scrollX"), self.number("window.scrollY"));
        let clip = json!({ "x": x + left, "y": y + top, "width": width, "height": height, "scale": 1 });
        let taken = self.call("Page.captureScreenshot", json!({ "format": "png", "clip": clip, "captureBeyondViewport": false }));
        taken["data"].as_str().expect("a picture").to_owned()
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).expect("the browser reads");
        loop {
            let answer = self.receive();
            if answer["id"] == id {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.events.push(answer);
        }
    }

    fn receive(&mut self) -> Value {
        loop {
            if let Some(end) = self.read.iter().position(|&byte| byte == 0) {
                let message: Vec<u8> = self.read.drain(..=end).collect();
                return serde_json::from_slice(&message[..end]).expect("JSON");
            }
            let mut part = [0; 1 << 16];
            let count = self.from.read(&mut part).expect("the browser answers");
            assert!(count > 0, "the browser has ended");
            self.read.extend_from_slice(&part[..count]);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.to.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let _ = self.child.wait();
    }
}

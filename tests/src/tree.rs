//! A running tree: looked at through its status socket and the process table, hurt by signals, cleaned up always.

use crate::home::{Home, Ran};
use crate::wait::{attempt, s, until};
use crate::witness::Witness;
use holdfast_core::ids::Role;
use holdfast_core::registry::TradingMode;
use holdfast_core::status::{StatusDoc, WorkerStatus};
use holdfast_core::time::Span;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A home with a supervisor in it.
pub struct Tree {
    /// Its home.
    pub home: Home,
}

impl Tree {
    /// Starts a paper engine in a fresh home.
    #[must_use]
    pub fn start() -> Self {
        Self::start_in(Home::new())
    }

    /// Starts a paper engine in this home.
    #[must_use]
    pub fn start_in(home: Home) -> Self {
        let tree = Self { home };
        let ran = tree.home.run(&["start", "--wait", "30"]);
        assert_eq!(ran.code, 0, "start failed: {ran:?}\n{}", tree.logs());
        tree
    }

    /// Starts and waits for Active.
    #[must_use]
    pub fn active() -> Self {
        let tree = Self::start();
        tree.wait_mode(TradingMode::Active, s(30));
        tree
    }

    /// Starts and waits for an open position.
    #[must_use]
    pub fn exposed() -> Self {
        let tree = Self::active();
        tree.wait_exposed();
        tree
    }

    /// Waits until the engine has opened a position by itself.
    pub fn wait_exposed(&self) {
        self.until("a position", s(90), |doc| doc.exposure.positions.iter().any(|p| !p.size.is_zero()));
    }

    /// The status document, if a supervisor answers within a second.
    #[must_use]
    pub fn try_status(&self) -> Option<StatusDoc> {
        let mut socket = UnixStream::connect(self.home.paths().status_sock()).ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        let mut text = String::new();
        socket.read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// The status document.
    ///
    /// # Panics
    /// When nobody answers.
    #[must_use]
    pub fn status(&self) -> StatusDoc {
        until("a status document", s(5), || self.try_status())
    }

    /// Waits until the status satisfies a condition.
    pub fn until(&self, what: &str, within: Span, holds: impl Fn(&StatusDoc) -> bool) -> StatusDoc {
        let mut last = None;
        let seen = attempt(within, || {
            let doc = self.try_status()?;
            let good = holds(&doc);
            last = Some(doc.clone());
            good.then_some(doc)
        });
        seen.unwrap_or_else(|| panic!("waited in vain for {what}; last status: {last:#?}\n{}", self.logs()))
    }

    /// Waits for a mode.
    pub fn wait_mode(&self, mode: TradingMode, within: Span) -> StatusDoc {
        self.until(&format!("mode {mode}"), within, |doc| doc.trading_mode == mode)
    }

    /// One worker's line of the status.
    #[must_use]
    pub fn worker(&self, role: Role) -> WorkerStatus {
        let doc = self.status();
        doc.workers.into_iter().find(|w| w.role == role).unwrap_or_else(|| panic!("no {role} in the status"))
    }

    /// The pid of a worker that has one.
    #[must_use]
    pub fn pid(&self, role: Role) -> u32 {
        until(&format!("a pid of {role}"), s(5), || self.worker(role).pid)
    }

    /// Sends a signal to a worker; returns its pid.
    pub fn signal(&self, role: Role, signal: Signal) -> u32 {
        let pid = self.pid(role);
        send(pid, signal);
        pid
    }

    /// The venue's witness.
    #[must_use]
    pub fn witness(&self) -> Witness {
        Witness::read(&self.home.paths().venue().join("orders.jsonl"))
    }

    /// Where the venue listens.
    #[must_use]
    pub fn venue(&self) -> SocketAddr {
        until("the venue's address", s(10), || self.try_status()?.venue_url.strip_prefix("http://")?.parse().ok())
    }

    /// Posts JSON to the venue; returns status and body.
    #[must_use]
    pub fn venue_post(&self, path: &str, body: &str) -> (u16, String) {
        http(self.venue(), "POST", path, body)
    }

    /// Injects a fault into the paper venue.
    pub fn fault(&self, body: &str) {
        let (status, answer) = self.venue_post("/sim/fault", body);
        assert!((200..300).contains(&status), "fault {body} refused: {status} {answer}");
    }

    /// Runs a command in this home.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Ran {
        self.home.run(args)
    }

    /// Every process of this home: the supervisor and all workers, alive right now.
    #[must_use]
    pub fn processes(&self) -> Vec<(String, u32)> {
        processes_of(self.home.paths().root())
    }

    /// The end of every log, for a failing test to print.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut text = String::new();
        let Ok(entries) = std::fs::read_dir(self.home.paths().logs()) else { return text };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let content = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = content.lines().collect();
            text += &format!("--- {}\n", path.display());
            for line in &lines[lines.len().saturating_sub(25)..] {
                text += line;
                text.push('\n');
            }
        }
        text
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        for _ in 0..3 {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            // The supervisor first, so that it restarts nobody.
            for (_, pid) in left.iter().filter(|(name, _)| name == "supervisor").chain(left.iter()) {
                send(*pid, Signal::SIGKILL);
            }
            let _ = attempt(s(2), || self.processes().is_empty().then_some(()));
        }
    }
}

/// Sends a signal to a process the test started.
pub fn send(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Whether a process exists and is not a zombie.
#[must_use]
pub fn lives(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z')))
}

/// Processes that hold a lock of this home: `(role or "supervisor", pid)`.
#[must_use]
pub fn processes_of(home: &std::path::Path) -> Vec<(String, u32)> {
    let run = home.join("run");
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let mut found = Vec::new();
    for pid in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let Ok(fds) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        let name = fds.flatten().find_map(|fd| {
            let path = std::fs::read_link(fd.path()).ok()?;
            let locked = path.parent() == Some(run.as_path()) && path.extension().is_some_and(|e| e == "lock");
            locked.then(|| path.file_stem().map(|stem| stem.to_string_lossy().into_owned())).flatten()
        });
        if let Some(name) = name.filter(|_| lives(pid)) {
            found.push((name, pid));
        }
    }
    found
}

/// One HTTP exchange on loopback: status code and body.
#[must_use]
pub fn http(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    http_with(address, method, path, &[("Content-Type", "application/json")], body)
}

/// The same with headers.
#[must_use]
pub fn http_with(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let exchange = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head += &format!("Host: {address}\r\n");
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let Ok(answer) = exchange() else { return (0, String::new()) };
    let status = answer.split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, body.to_owned())
}

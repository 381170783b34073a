//! What a running server tells those who run it: the real binary with a real log.

mod logs;
mod stop;
mod traces;

use std::{
    fs::File,
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

/// A running `writ serve` whose log is kept.
struct Running {
    directory: TempDir,
    server: Child,
    issuer: String,
}

impl Running {
    /// Starts one with these variables in its environment.
    async fn start(variables: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().unwrap();
        let log = File::create(directory.path().join("log")).unwrap();
        let server = Command::new(env!("CARGO_BIN_EXE_writ"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"])
            .args(["--ready-file", "ready.json"])
            .envs(variables.iter().copied())
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let ready = directory.path().join("ready.json");
        // A debug build makes six RSA keys first.
        for _ in 0..3000 {
            if ready.exists() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let ready: Value = serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
        Self {
            directory,
            server,
            issuer: ready["issuer"].as_str().unwrap().to_owned(),
        }
    }

    /// Where it listens.
    fn address(&self) -> SocketAddr {
        self.issuer
            .strip_prefix("http://")
            .unwrap()
            .parse()
            .unwrap()
    }

    /// The administrator's secret.
    fn admin_secret(&self) -> String {
        let path = self.directory.path().join("data/admin.json");
        let text = std::fs::read_to_string(path).unwrap();
        let credentials: Value = serde_json::from_str(&text).unwrap();
        credentials["client_secret"].as_str().unwrap().to_owned()
    }

    /// Everything it has logged.
    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// Everything it has logged, line by line.
    fn lines(&self) -> Vec<Value> {
        let log = self.log();
        let lines = log.lines().map(serde_json::from_str);
        lines.map(|line| line.expect(&log)).collect()
    }

    /// Asks it to stop, as a supervisor does.
    fn terminate(&self) {
        let pid = self.server.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits until it has ended.
    async fn ended(&mut self) -> ExitStatus {
        for _ in 0..3000 {
            if let Some(status) = self.server.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it does not end: {}", self.log());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

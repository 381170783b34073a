//! The command line, as a person or a script uses it: the real binary against a real server.

mod audit;
mod backup;
mod check_metadata;
mod commands;
mod doctor;
mod serve;
mod users;

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use sea_orm::{ConnectionTrait as _, Database};
use serde_json::Value;
use tempfile::TempDir;

/// A running `writ serve`, and commands that talk to it.
struct Scene {
    directory: TempDir,
    server: Child,
    issuer: String,
}

/// What a command printed and how it ended.
#[derive(Debug)]
struct Outcome {
    stdout: String,
    stderr: String,
    code: i32,
}

impl Scene {
    fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let ready = directory.path().join("ready.json");
        let server = Command::new(env!("CARGO_BIN_EXE_writ"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"])
            .args(["--ready-file", "ready.json"])
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A debug build makes six RSA keys first.
        for _ in 0..3000 {
            if ready.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let ready: Value = serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
        Self {
            issuer: ready["issuer"].as_str().unwrap().to_owned(),
            directory,
            server,
        }
    }

    /// The path of a file in the scene's directory, with this content.
    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Edits the server's database while it runs.
    fn sql(&self, sql: &str) {
        let file = self.directory.path().join("data/writ.db");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let url = format!("sqlite://{}", file.display());
            let db = Database::connect(url).await.unwrap();
            db.execute_unprepared(sql).await.unwrap();
        });
    }

    /// Runs a command in the scene's directory.
    fn writ(&self, line: &str) -> Outcome {
        self.writ_reading(line, "")
    }

    /// Runs a command with this standard input.
    fn writ_reading(&self, line: &str, input: &str) -> Outcome {
        let mut child = Command::new(env!("CARGO_BIN_EXE_writ"))
            .args(line.split_whitespace())
            .env("WRIT_CREDENTIALS", "data/admin.json")
            .current_dir(self.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads no input may have ended by now.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Outcome {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code().unwrap(),
        }
    }

    /// Runs a command that has to succeed; its JSON.
    fn json(&self, line: &str) -> Value {
        let outcome = self.writ(&format!("{line} --json"));
        assert_eq!(outcome.code, 0, "{line}: {outcome:?}");
        serde_json::from_str(&outcome.stdout).unwrap()
    }

    /// Runs a command that has to fail; what it says.
    fn refused(&self, line: &str) -> String {
        let outcome = self.writ(line);
        assert_eq!(outcome.code, 1, "{line}: {outcome:?}");
        assert_eq!(outcome.stdout, "", "{line}");
        outcome.stderr
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

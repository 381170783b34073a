//! Backup and restore: the real binary, a running server, another database.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use reqwest::Client;
use serde_json::{Value, json};
use writ::config::Config;

use super::Outcome;
use crate::support::Home;

const DECLARATION: &str = r#"
    [[resources]]
    id = "weather"
    resource = "https://weather.example/mcp"
    tools = [{ name = "forecast" }]

    [[clients]]
    client_id = "agent"
    access = [{ resource = "weather", scopes = ["*"] }]

    [[tenants]]
    name = "acme"
"#;

/// A data directory with its database, and commands on it.
struct Site {
    home: Home,
    url: String,
}

impl Site {
    async fn new() -> Self {
        let home = Home::empty().await;
        let url = home.settle(Config::default()).storage.url;
        Self { home, url }
    }

    /// The same with SQLite, whatever the suite runs on.
    async fn sqlite() -> Self {
        Self {
            home: Home::empty().await,
            url: String::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_writ"));
        command
            .args(line.split_whitespace())
            .env("WRIT_STORAGE__DATA_DIR", self.home.path())
            .env("WRIT_STORAGE__URL", &self.url)
            .env("WRIT_CREDENTIALS", self.path("admin.json"))
            .current_dir(self.home.path());
        command
    }

    fn writ(&self, line: &str) -> Outcome {
        self.writ_reading(line, "")
    }

    fn writ_reading(&self, line: &str, input: &str) -> Outcome {
        let mut child = self
            .command(line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Outcome {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code().unwrap(),
        }
    }

    #[track_caller]
    fn json(&self, line: &str) -> Value {
        let outcome = self.writ(&format!("{line} --json"));
        assert_eq!(outcome.code, 0, "{line}: {outcome:?}");
        serde_json::from_str(&outcome.stdout).unwrap()
    }

    #[track_caller]
    fn refused(&self, line: &str, why: &str) {
        let outcome = self.writ(line);
        assert_eq!(outcome.code, 1, "{line}: {outcome:?}");
        assert!(outcome.stderr.contains(why), "{line}: {outcome:?}");
    }

    /// A server on this site; its address and issuer.
    fn serve(&self, listen: &str) -> Serving {
        let ready = self.path("ready.json");
        let _ = fs::remove_file(&ready);
        let child = self
            .command(&format!("serve --listen {listen} --ready-file ready.json"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..6000 {
            if ready.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let ready: Value = serde_json::from_slice(&fs::read(&ready).unwrap()).unwrap();
        Serving {
            child,
            address: ready["listen"].as_str().unwrap().to_owned(),
            issuer: ready["issuer"].as_str().unwrap().to_owned(),
        }
    }

    /// What the operator keeps beside a backup.
    fn copy_keys_to(&self, other: &Self) {
        for name in ["sealing.key", "admin.json"] {
            fs::copy(self.path(name), other.path(name)).unwrap();
        }
    }
}

struct Serving {
    child: Child,
    address: String,
    issuer: String,
}

impl Serving {
    async fn get(&self, path: &str, token: &str) -> (u16, Value) {
        let request = Client::new().get(format!("{}{path}", self.issuer));
        let answer = request.bearer_auth(token).send().await.unwrap();
        (
            answer.status().as_u16(),
            answer.json().await.unwrap_or_default(),
        )
    }

    /// A token of the administrator.
    async fn token(&self, site: &Site) -> String {
        let credentials = fs::read(site.path("admin.json")).unwrap();
        let credentials: Value = serde_json::from_slice(&credentials).unwrap();
        let form = [
            ("grant_type", "client_credentials"),
            ("resource", credentials["resource"].as_str().unwrap()),
            ("scope", "writ:admin"),
            ("client_id", "admin"),
            (
                "client_secret",
                credentials["client_secret"].as_str().unwrap(),
            ),
        ];
        let request = Client::new().post(format!("{}/token", self.issuer));
        let answer: Value = request
            .form(&form)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// Asks it to stop, and waits until it has.
    fn stop(mut self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").arg(&pid).status().unwrap();
        assert!(sent.success() && self.child.wait().unwrap().success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server moves from one place to another, and nobody who knows it notices.
async fn moves(old: &Site, new: &Site) {
    let server = old.serve("127.0.0.1:0");
    fs::write(old.path("a.toml"), DECLARATION).unwrap();
    let applied = old.json("apply a.toml");
    let secret = applied[1]["client_secret"].as_str().unwrap().to_owned();
    let ask = "token weather --client-id agent --client-secret-stdin --json";
    assert_eq!(old.writ_reading(ask, &secret).code, 0);
    let before = server.token(old).await;
    let (_, keys) = server.get("/jwks.json", "").await;
    let (_, clients) = server.get("/admin/clients", &before).await;

    // While it serves.
    let made = old.json("backup b.jsonl");
    assert_eq!(made["sealing_key"], json!(old.path("sealing.key")));
    let file = old.path("b.jsonl");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(&file).unwrap();
    let sealing_key = fs::read_to_string(old.path("sealing.key")).unwrap();
    assert!(
        !text.contains(sealing_key.trim()),
        "the key was not asked for"
    );
    let rows = text.lines().count() - 2;
    assert_eq!(made["rows"], rows);
    old.refused("backup b.jsonl", "exists");
    old.refused("restore b.jsonl", "another writ serves");
    let (address, issuer) = (server.address.clone(), server.issuer.clone());
    server.stop();

    let line = format!("restore {}", file.display());
    let restored = new.json(&line);
    assert_eq!(restored["rows"], rows);
    assert_eq!(restored["sealing_key_is_there"], false);
    new.refused(&line, "is not empty");
    let started = new.writ("serve --listen 127.0.0.1:0");
    assert_eq!(started.code, 1, "{started:?}");
    assert!(started.stderr.contains("sealing.key"), "{started:?}");
    old.copy_keys_to(new);
    let server = new.serve(&address);
    assert_eq!(server.issuer, issuer);
    assert_eq!(server.get("/jwks.json", "").await.1, keys);
    assert_eq!(server.get("/admin/clients", &before).await, (200, clients));
    assert_eq!(new.writ_reading(ask, &secret).code, 0);
    assert_eq!(new.json("audit verify")["intact"], true);
    let kinds = new.json("audit list --kind token.issued");
    assert!(kinds.as_array().unwrap().len() >= 4, "{kinds}");
    assert_eq!(new.json("tenant list")[0]["name"], "acme");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_server_is_the_same_one() {
    moves(&Site::new().await, &Site::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_moves_between_kinds_of_database() {
    let (one, other) = (Site::sqlite().await, Site::new().await);
    moves(&one, &other).await;
    // And back, with the key in the file.
    let made = other.writ("backup c.jsonl --with-sealing-key");
    assert_eq!(made.code, 0, "{made:?}");
    assert!(made.stdout.contains("can sign tokens"), "{made:?}");
    let back = Site::sqlite().await;
    let line = format!("restore {}", other.path("c.jsonl").display());
    assert_eq!(back.json(&line)["sealing_key_is_there"], true);
    let mode = fs::metadata(back.path("sealing.key"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    back.serve("127.0.0.1:0").stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_refused_and_leaves_nothing() {
    let old = Site::new().await;
    old.serve("127.0.0.1:0").stop();
    old.json("backup b.jsonl --with-sealing-key");
    let good = fs::read_to_string(old.path("b.jsonl")).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let without = |at: usize| {
        let mut lines = lines.clone();
        lines.remove(at);
        lines.join("\n") + "\n"
    };
    let new = Site::new().await;
    for (text, why) in [
        (
            good.replacen("\"admin\"", "\"nimda\"", 1),
            "its digest does not hold",
        ),
        (without(1), "its digest does not hold"),
        (without(lines.len() - 1), "it ends too early"),
        (good[..good.len() / 2].to_owned(), "damaged"),
        (format!("{good}{}\n", lines[1]), "goes on after its end"),
        (
            good.replacen("\"version\":1", "\"version\":2", 1),
            "only 'writ-backup' version 1",
        ),
        (
            good.replacen("\"schema\":\"m", "\"schema\":\"x", 1),
            "whose schema is 'x",
        ),
        (String::new(), "ends too early"),
        ("{}\n".to_owned(), "no backup of Writ"),
    ] {
        fs::write(new.path("b.jsonl"), text).unwrap();
        new.refused("restore b.jsonl", why);
        assert!(!new.path("sealing.key").exists(), "{why}");
    }
    fs::write(new.path("b.jsonl"), &good).unwrap();
    let key = new.path("sealing.key");
    fs::write(&key, "another\n").unwrap();
    new.refused("restore b.jsonl", "another sealing key");
    // What cannot be read may be a key all the same.
    fs::write(&key, [0xff]).unwrap();
    new.refused("restore b.jsonl", "sealing.key");
    assert_eq!(fs::read(&key).unwrap(), [0xff]);
    fs::remove_file(&key).unwrap();
    let restored = new.json("restore b.jsonl");
    let warning = restored["warning"].as_str().unwrap();
    assert!(warning.contains("writ revoke tenant"), "{warning}");
    new.serve("127.0.0.1:0").stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_does_not_open_the_backup_is_refused() {
    let old = Site::sqlite().await;
    old.serve("127.0.0.1:0").stop();
    fs::write(old.path("b.partial"), "somebody's").unwrap();
    old.json("backup b.jsonl");
    assert_eq!(fs::read(old.path("b.partial")).unwrap(), b"somebody's");
    let line = format!("restore {}", old.path("b.jsonl").display());
    let new = Site::sqlite().await;
    let other = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    fs::write(new.path("sealing.key"), other).unwrap();
    new.refused(&line, "does not open the signing keys");
    let kept = fs::read_to_string(new.path("sealing.key")).unwrap();
    assert_eq!(kept, other);
    // Nothing was written.
    old.copy_keys_to(&new);
    let restored = new.writ(&line);
    assert!(
        restored.stdout.contains("writ revoke tenant"),
        "{restored:?}"
    );
    new.serve("127.0.0.1:0").stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_database_there_is_no_backup() {
    let site = Site::sqlite().await;
    site.refused("backup b.jsonl", "storage.data_dir");
    assert!(!site.path("b.jsonl").exists());
    assert!(!site.path("writ.db").exists());
}

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::*;

#[test]
fn what_is_declared_is_true_before_the_first_answer() {
    let directory = TempDir::new().unwrap();
    let last = 400;
    let clients: Vec<_> = (0..=last)
        .map(|number| {
            json!({
                "client_id": format!("agent-{number}"), "client_secret": "s".repeat(43),
                "grant_types": ["client_credentials"],
                "access": [{ "resource": "w", "scopes": ["tool:a"] }],
            })
        })
        .collect();
    let resource =
        json!({ "id": "w", "resource": "https://w.example/mcp", "tools": [{ "name": "a" }] });
    let declaration = json!({ "resources": [resource], "clients": clients });
    std::fs::write(directory.path().join("all.json"), declaration.to_string()).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let server = Command::new(env!("CARGO_BIN_EXE_writ"))
        .args([
            "serve",
            "--listen",
            &address.to_string(),
            "--data-dir",
            "data",
        ])
        .args(["--apply", "all.json"])
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let scene = Scene {
        issuer: format!("http://{address}"),
        directory,
        server,
    };
    let body = "grant_type=client_credentials&resource=https://w.example/mcp&scope=tool:a";
    let pair = STANDARD.encode(format!("agent-{last}:{}", "s".repeat(43)));
    let request = format!(
        "POST /token HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         authorization: Basic {pair}\r\ncontent-length: {}\r\n\
         content-type: application/x-www-form-urlencoded\r\n\r\n{body}",
        body.len()
    );
    let mut connection = (0..3000)
        .find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            TcpStream::connect(address).ok()
        })
        .unwrap();
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 "),
        "{}: {answer}",
        scene.issuer
    );
}

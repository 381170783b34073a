//! `writ user`, and people in declarations.

use serde_json::json;

use super::Scene;

#[test]
fn people_are_made_listed_changed_and_removed() {
    let scene = Scene::start();
    let made = scene.writ_reading(
        "user add alice --email alice@example.com --email-verified --name Alice --password-stdin \
         --json",
        "correct horse battery\n",
    );
    assert_eq!(made.code, 0, "{made:?}");
    let made: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
    assert_eq!(made["claims"], json!({ "name": "Alice" }));
    assert_eq!(made["credentials"]["password"], true);
    scene.file("bob.txt", "another long password\n");
    scene.json("user add bob --password-file bob.txt");
    let carol = scene.json("user add carol --no-password");
    assert_eq!(carol["credentials"]["password"], false);
    let names: Vec<_> = scene.json("user list").as_array().unwrap().clone();
    let names: Vec<_> = names.iter().map(|user| user["username"].clone()).collect();
    assert_eq!(names, ["alice", "bob", "carol"]);
    let table = scene.writ("user list");
    assert!(table.stdout.contains("alice@example.com"), "{table:?}");
    let shown = scene.writ("user show ALICE");
    assert!(
        shown.stdout.contains("signs in with  password"),
        "{shown:?}"
    );
    assert_eq!(scene.json("user disable bob")["disabled"], true);
    assert_eq!(scene.json("user enable bob")["disabled"], false);
    let set = scene.writ_reading(
        "user set-password carol --password-stdin --json",
        "a new password",
    );
    let set: serde_json::Value = serde_json::from_str(&set.stdout).unwrap();
    assert_eq!(set["credentials"]["password"], true);
    scene.json("user remove bob");
    assert_eq!(scene.json("user list").as_array().unwrap().len(), 2);

    for (line, input, words) in [
        ("user add dave", "", "--password-stdin"),
        (
            "user add dave --password-stdin",
            "short",
            "at least 10 characters",
        ),
        ("user add alice --no-password", "", "exists"),
        ("user show bob", "", "no such user"),
    ] {
        let refused = scene.writ_reading(line, input);
        assert_eq!(refused.code, 1, "{line}: {refused:?}");
        assert!(refused.stderr.contains(words), "{line}: {refused:?}");
    }
}

#[test]
fn people_are_taken_over_and_declared() {
    let scene = Scene::start();
    const HASH: &str = "$2b$05$sG0hHj26pqJ5wjrBQEo3F.RY8pRPwwPEfFMTuTxocYmTVKMup0ggq";
    let lines: String = (0..250)
        .map(|n| {
            let user = json!({ "username": format!("user{n:03}"), "password_hash": HASH, "id": n.to_string() });
            format!("{user}\n")
        })
        .collect();
    scene.file("users.jsonl", &lines);
    let would = scene.writ("user import users.jsonl --dry-run");
    assert_eq!(
        would.stdout,
        "would be created 250, changed 0, unchanged 0\n"
    );
    let done = scene.writ("user import users.jsonl");
    assert_eq!(
        done.stdout, "created 250, changed 0, unchanged 0\n",
        "{done:?}"
    );
    let again = scene.writ_reading("user import -", &lines);
    assert_eq!(again.stdout, "created 0, changed 0, unchanged 250\n");
    assert_eq!(scene.json("user list").as_array().unwrap().len(), 250);
    assert_eq!(scene.json("user show user007")["id"], "7");

    scene.file("broken.jsonl", "{\"username\":\"x\"}\n{\"user\":\"y\"}\n");
    let broken = scene.writ("user import broken.jsonl");
    assert!(broken.stderr.contains("broken.jsonl: line 2"), "{broken:?}");

    scene.file("secret.txt", "correct horse battery\n");
    scene.file(
        "a.toml",
        "[[users]]\nusername = 'alice'\npassword_file = 'secret.txt'\n\
         [[tenants]]\nname = 'acme'\n[[tenants.users]]\nusername = 'bob'\ndisabled = true\n",
    );
    let actions = |lines: &serde_json::Value| -> Vec<String> {
        let lines = lines.as_array().unwrap().iter();
        lines
            .map(|line| line["action"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(actions(&scene.json("apply a.toml")), ["created"; 3]);
    assert_eq!(actions(&scene.json("apply a.toml")), ["unchanged"; 3]);
    assert_eq!(
        scene.json("user show alice")["credentials"]["password"],
        true
    );
}

#[test]
fn somebody_who_cannot_come_in_is_helped() {
    let scene = Scene::start();
    scene.file("secret.txt", "correct horse battery\n");
    let alice = scene.json("user add alice --password-file secret.txt");
    let id = alice["id"].as_str().unwrap();
    let refused = scene.refused("user reset-factor alice");
    assert!(refused.contains("no second factor"), "{refused}");
    // What only people add, at their own account.
    for (credential, kind, name) in [
        ("totp:x", "totp", ""),
        ("recovery:x", "recovery", ""),
        ("key", "passkey", "Phone"),
        ("corp", "upstream", "alice@corp"),
    ] {
        scene.sql(&format!(
            "INSERT INTO credential (tenant, id, user_id, kind, name, secret, counter, document, \
             created_at) VALUES ('default', '{credential}', '{id}', '{kind}', '{name}', x'00', 0, \
             '{{}}', 1700000000)"
        ));
    }
    let shown = scene.writ("user show alice");
    let words = "password, authenticator app, 1 passkeys, 1 identities elsewhere, 1 recovery codes";
    assert!(shown.stdout.contains(words), "{shown:?}");
    let reset = scene.writ("user reset-factor alice");
    assert_eq!(reset.code, 0, "{reset:?}");
    let words = "no second factor any more for user alice\n";
    assert!(reset.stdout.starts_with(words), "{reset:?}");
    assert!(!reset.stdout.contains("authenticator"), "{reset:?}");

    let table = scene.writ(&format!("user credentials {id}"));
    for words in ["passkey", "Phone", "upstream", "2023-11-14T22:13:20Z"] {
        assert!(table.stdout.contains(words), "{table:?}");
    }
    let removed = scene.json("user credentials alice --remove key");
    assert_eq!(removed, json!({ "removed": { "credential": "key" } }));
    scene.refused("user credentials alice --remove key");
    let left = scene.json("user credentials alice");
    assert_eq!(left.as_array().unwrap().len(), 1);

    for n in 0..3 {
        scene.sql(&format!(
            "INSERT INTO session (tenant, sid, digest, user_id, amr, authenticated_at, user_agent, \
             address, created_at, last_used_at, expires_at) VALUES ('default', 'sid-{n}', x'0{n}', \
             '{id}', 'pwd', unixepoch(), 'Browser {n}', '198.51.100.7', unixepoch(), unixepoch(), \
             unixepoch() + 3600)"
        ));
    }
    let table = scene.writ("user sessions alice");
    for words in ["sid-1", "Browser 1", "198.51.100.7", "pwd"] {
        assert!(table.stdout.contains(words), "{table:?}");
    }
    let ended = scene.json("user sessions alice --end sid-1");
    assert_eq!(ended, json!({ "removed": { "session": "sid-1" } }));
    scene.refused("user sessions alice --end sid-1");
    let left = scene.json("user sessions alice");
    assert_eq!(left.as_array().unwrap().len(), 2);
    let ended = scene.writ("user sessions alice --all");
    assert!(ended.stdout.starts_with("ended 2 sessions:\n"), "{ended:?}");
    assert_eq!(scene.json("user sessions alice"), json!([]));
    scene.refused("user sessions nobody --all");
}

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

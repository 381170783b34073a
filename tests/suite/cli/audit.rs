//! `writ audit`: what an auditor types.

use super::Scene;

#[test]
fn a_trail_is_held_against_a_checkpoint_that_was_kept() {
    let scene = Scene::start();
    scene.json("resource add --id w --resource https://w.example/mcp --tool a");
    assert_eq!(scene.writ("audit checkpoint --out kept.jwt").code, 0);
    scene.json("resource add --id v --resource https://v.example/mcp --tool a");
    let found = scene.json("audit verify --checkpoint kept.jwt");
    assert_eq!(found["intact"], true, "{found}");
    assert_eq!(found["checkpoint"]["key"], "in the JWKS");
    let token = std::fs::read_to_string(scene.directory.path().join("kept.jwt")).unwrap();
    // The first character of the signature: all of its bits count.
    let (start, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{start}.{other}{}", &signature[1..]);
    scene.file("forged.jwt", &forged);
    assert!(
        scene
            .refused("audit verify --checkpoint forged.jwt")
            .contains("forged.jwt: ")
    );
    // The row of the checkpoint is another one now.
    let seq = found["checkpoint"]["chains"][0]["seq"].as_i64().unwrap();
    scene.sql(&format!(
        "UPDATE audit_event SET hash = zeroblob(32) WHERE seq = {seq}"
    ));
    let outcome = scene.writ("audit verify --checkpoint kept.jwt");
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stdout.contains("the history was rewritten"),
        "{outcome:?}"
    );
    let outcome = scene.writ("audit verify");
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stdout.contains(&format!("row {seq} was changed")),
        "{outcome:?}"
    );
}

#[test]
fn an_export_goes_on_where_the_last_one_ended() {
    let scene = Scene::start();
    scene.json("resource add --id w --resource https://w.example/mcp --tool a");
    let export = "audit export --format ocsf --out trail.jsonl --cursor at";
    let lines = || {
        let text = std::fs::read_to_string(scene.directory.path().join("trail.jsonl")).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(scene.writ(export).code, 0);
    let first = lines();
    assert!(!first.is_empty());
    scene.json("resource add --id v --resource https://v.example/mcp --tool a");
    assert_eq!(scene.writ(export).code, 0);
    let all = lines();
    assert_eq!(all[..first.len()], first);
    assert!(all.len() > first.len());
    let uids: std::collections::BTreeSet<String> = all
        .iter()
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            event["metadata"]["uid"].to_string()
        })
        .collect();
    assert_eq!(uids.len(), all.len(), "an event came twice");
    let listed = scene.json("audit list --kind resource.* --resource v --since 1h");
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert!(scene.json("audit sinks").as_array().unwrap().is_empty());
    let done = scene.json("audit truncate --before 0s");
    assert!(done["events"].as_i64().unwrap() > 0);
    assert_eq!(scene.json("audit verify")["intact"], true);
}

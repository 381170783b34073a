//! Nouns and verbs.

use serde_json::json;

use super::Scene;
use crate::support::parts;

const DECLARATION: &str = r#"
    [[resources]]
    id = "weather"
    resource = "https://weather.example/mcp"
    tools = [{ name = "forecast" }, { name = "alert", sensitive = true }]
    default_scopes = ["tool:forecast"]

    [[clients]]
    client_id = "agent"
    access = [{ resource = "weather", scopes = ["*"] }]

    [[tenants]]
    name = "acme"
"#;

#[test]
fn from_a_declaration_to_a_token_and_back() {
    let scene = Scene::start();
    scene.file("a.toml", DECLARATION);

    let would = scene.json("apply a.toml --dry-run");
    assert_eq!(would[1]["action"], "created");
    assert!(
        would[1].get("client_secret").is_none(),
        "generated for nobody"
    );
    assert_eq!(scene.json("client list").as_array().unwrap().len(), 1);

    let applied = scene.json("apply a.toml");
    let secret = applied[1]["client_secret"].as_str().unwrap();
    let again = scene.json("apply a.toml");
    let actions: Vec<_> = again
        .as_array()
        .unwrap()
        .iter()
        .map(|l| &l["action"])
        .collect();
    assert_eq!(actions, ["unchanged", "unchanged", "unchanged"]);

    let line = "token weather --client-id agent --client-secret-stdin --json";
    let token = scene.writ_reading(line, &format!("{secret}\n"));
    let token: serde_json::Value = serde_json::from_str(&token.stdout).unwrap();
    assert_eq!(token["scope"], "tool:forecast");

    let renewed = scene.json("client new-secret agent");
    assert_ne!(renewed["client_secret"], secret);
    let old = scene.writ_reading(line, secret);
    assert_eq!(old.code, 1);
    assert!(old.stderr.contains("invalid_client") && !old.stderr.contains(secret));

    let shown = scene.json("resource show weather");
    assert_eq!(shown["paste"]["issuer"], scene.issuer.as_str());
    assert_eq!(
        shown["paste"]["metadata"]["resource"],
        "https://weather.example/mcp"
    );
    assert_eq!(
        scene.json("client remove agent"),
        json!({ "removed": { "client": "agent" } })
    );
    assert!(
        scene
            .refused("client show agent")
            .contains("no such client")
    );
    assert_eq!(scene.json("audit verify")["intact"], true);
    let kinds = scene.json("audit list --kind token.refused");
    assert_eq!(
        kinds.as_array().unwrap().len(),
        0,
        "the secret was wrong, not the request"
    );
}

#[test]
fn a_key_made_here_signs_in() {
    let scene = Scene::start();
    scene.json("resource add --id w --resource https://w.example/mcp --tool a --sensitive-tool b");
    for algorithm in ["EdDSA", "ES256", "RS256"] {
        let made = format!("client key generate --algorithm {algorithm} --out {algorithm}.pem");
        let jwks = scene.writ(&made);
        assert!(!jwks.stdout.contains("\"d\"") && !jwks.stderr.contains("PRIVATE"));
        scene.file("jwks.json", &jwks.stdout);
        scene.json(&format!(
            "client add --id c-{algorithm} --jwks jwks.json --access w=tool:a"
        ));
        let token = scene.json(&format!(
            "token https://w.example/mcp --client-id c-{algorithm} --key {algorithm}.pem"
        ));
        assert_eq!(token["scope"], "tool:a", "{algorithm}");
        assert!(scene.refused(&made).contains("exists"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let file = std::fs::metadata(scene.directory.path().join("EdDSA.pem")).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_client_that_asks_people_is_declared_with_flags() {
    let scene = Scene::start();
    let line = "client add --id app --public --redirect-uri https://app.example/cb \
                --redirect-uri https://app.example/two --post-logout-redirect-uri \
                https://app.example/out --backchannel-logout-uri https://app.example/told";
    let app = scene.json(line);
    assert_eq!(app["token_endpoint_auth_method"], "none");
    assert_eq!(
        app["grant_types"],
        json!(["authorization_code", "refresh_token"])
    );
    assert_eq!(
        app["redirect_uris"],
        json!(["https://app.example/cb", "https://app.example/two"])
    );
    let shown = scene.writ("client show app").stdout;
    for words in ["https://app.example/out", "https://app.example/told"] {
        assert!(shown.contains(words), "{shown}");
    }
    let old = "client add --id old --profile oidc_compat --redirect-uri https://old.example/cb";
    assert_eq!(scene.json(old)["profile"], "oidc_compat");
    let refused = scene.refused("client add --id bank --profile fapi2");
    assert!(refused.contains("private_key_jwt"), "{refused}");
}

#[test]
fn a_token_is_bound_to_a_key_made_here() {
    let scene = Scene::start();
    scene.json("resource add --id w --resource https://w.example/mcp --tool a");
    let jwks = scene.writ("client key generate --out client.pem");
    scene.file("jwks.json", &jwks.stdout);
    scene.json("client add --id c --jwks jwks.json --access w=tool:a");
    scene.writ("client key generate --algorithm ES256 --out holder.pem");
    let ask = "token w --client-id c --key client.pem --dpop holder.pem";
    let answer = scene.json(ask);
    assert_eq!(answer["token_type"], "DPoP");
    let proof = answer["dpop_proof"].as_str().unwrap();
    let (header, claims) = parts(proof);
    assert_eq!(header["typ"], "dpop+jwt");
    assert!(header["jwk"].get("d").is_none());
    assert_eq!(claims["htu"], "https://w.example/mcp");
    let (_, token) = parts(answer["access_token"].as_str().unwrap());
    // The key's name in its JWKS is its thumbprint too.
    assert_eq!(token["cnf"]["jkt"], header["jwk"]["kid"]);
    let told = scene.writ(ask);
    assert!(told.stderr.contains("DPoP: "), "{told:?}");
    assert!(
        scene
            .refused("token w --client-id c --key client.pem --dpop none.pem")
            .contains("none.pem")
    );
}

#[test]
fn a_tenant_is_managed_with_its_own_credentials() {
    let scene = Scene::start();
    let added = scene.writ("tenant add acme --out acme.json");
    assert_eq!(added.code, 0, "{added:?}");
    assert!(
        !added.stdout.contains("writ_cs_"),
        "the secret is in the file"
    );
    let own = "--tenant acme --credentials acme.json";
    assert_eq!(
        scene.json(&format!("client list {own}"))[0]["client_id"],
        "admin"
    );
    let why = scene.refused("client list --tenant acme");
    assert!(why.contains("its own administrator"), "{why}");
    let why = scene.refused(&format!("tenant list {own}"));
    assert!(why.contains("server's own issuer"), "{why}");
    scene.json("tenant remove acme");
    assert!(scene.refused(&format!("client list {own}")).contains("404"));
}

#[test]
fn what_was_granted_is_ended() {
    let scene = Scene::start();
    scene.file("a.toml", DECLARATION);
    let applied = scene.json("apply a.toml");
    let secret = applied[1]["client_secret"].as_str().unwrap();
    let token =
        |line: &str| scene.writ_reading(&format!("token weather --client-id agent {line}"), secret);
    let get = || token("--client-secret-stdin").stdout;
    let first = get();
    let ended = scene.writ_reading("revoke token - --reason leaked --json", &first);
    let ended: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(ended, json!({ "grants": 0, "tokens": 1 }));
    let again = scene.writ_reading("revoke token -", &first);
    assert_eq!(again.stdout, "the token held no more\n");
    for what in ["client agent", "subject agent", "resource weather"] {
        get();
        let ended = scene.json(&format!("revoke {what}"));
        assert_eq!(ended, json!({ "grants": 1, "tokens": 0 }), "{what}");
    }
    let ended = scene.writ("revoke grant AAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(ended.stdout, "grant AAAAAAAAAAAAAAAAAAAAAA is not there\n");
    assert!(
        scene
            .refused("revoke tenant acme")
            .contains("tenant 'default'")
    );
    assert!(
        scene
            .refused("revoke client nobody")
            .contains("no client 'nobody'")
    );

    let disabled = scene.writ("client disable agent");
    assert!(
        disabled.stdout.starts_with("disabled client agent\n"),
        "{disabled:?}"
    );
    let refused = token("--client-secret-stdin");
    assert!(refused.stderr.contains("invalid_client"), "{refused:?}");
    scene.json("client enable agent");
    assert_eq!(token("--client-secret-stdin").code, 0);
    // Last, for it ends the administrator's own token too.
    scene.json("revoke tenant default");
    let reasons = scene.json("audit list --kind token.revoked");
    assert_eq!(reasons[0]["event"]["reason"], "leaked");
}

#[test]
fn keys_wait_until_they_are_known_everywhere() {
    let scene = Scene::start();
    let why = scene.refused("keys rotate --algorithm EdDSA");
    assert!(why.contains("published"), "{why}");
    let keys = scene.json("keys rotate --algorithm EdDSA --now");
    let states = |algorithm: &str| -> Vec<String> {
        let keys = keys.as_array().unwrap().iter();
        let keys = keys.filter(|key| key["algorithm"] == algorithm);
        keys.map(|key| key["state"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(states("EdDSA").contains(&"retired".to_owned()));
    assert!(!states("ES256").contains(&"retired".to_owned()));
}

#[test]
fn what_is_wrong_is_named() {
    let scene = Scene::start();
    scene.file("key.toml", "[[clients]]\nclient_id = 'a'\nsecret = 'x'");
    scene.file("bare.yaml", "resource: https://w.example/mcp\ntols: []");
    scene.file(
        "other.json",
        r#"{"clients":[{"client_id":"a","access":[{"resource":"x","scopes":[]}]}]}"#,
    );
    for (line, words) in [
        (
            "apply key.toml",
            "key.toml: clients[0].secret: unknown field `secret`",
        ),
        ("apply none.toml", "none.toml: No such file"),
        (
            "apply other.json",
            "other.json: client 'a': access: resource 'x' is not declared",
        ),
        (
            "resource add bare.yaml",
            "bare.yaml: tols: unknown field `tols`",
        ),
        ("resource show nothing", "no such resource"),
        (
            "resource add --id w --resource http://w.example",
            "must use https",
        ),
        ("client list --credentials none.json", "writ serve"),
        ("client list --server http://auth.example", "https"),
        ("token nothing", "has no resource 'nothing'"),
    ] {
        let said = scene.refused(line);
        assert!(said.contains(words), "{line}: {said}");
    }
}

#[test]
fn receivers_are_told_and_their_streams_managed() {
    let scene = Scene::start();
    let declaration = r#"
        [[resources]]
        id = "weather"
        resource = "https://weather.example/mcp"
        stream = { delivery = { method = "urn:ietf:rfc:8936" } }

        [[clients]]
        client_id = "weather-server"
        serves = "weather"
    "#;
    scene.file("a.toml", declaration);
    let applied = scene.json("apply a.toml");
    let id = applied[2]["id"].as_str().unwrap();
    assert_eq!(
        (&applied[2]["kind"], &applied[2]["action"]),
        (&json!("stream"), &json!("created"))
    );
    let all = scene.json("stream list");
    assert_eq!(
        (&all[0]["stream_id"], all.as_array().unwrap().len()),
        (&json!(id), 1)
    );
    assert!(scene.writ("stream list").stdout.contains("weather-server"));

    let told = scene.json("event emit session-revoked --client agent --reason gone");
    assert_eq!(told["seq"], 1);
    let change = "event emit credential-change --user u --member credential_type=password";
    assert!(scene.refused(change).contains("change_type"));
    let told = scene.writ(&format!(
        "{change} --member change_type=update --resource weather"
    ));
    assert!(
        told.stdout.contains("told receivers of credential-change"),
        "{told:?}"
    );
    scene.json(&format!("event emit verification --stream {id}"));
    let shown = scene.json(&format!("stream show {id}"));
    assert_eq!(
        shown["backlog"],
        json!({ "position": 0, "head": 3, "waiting": 3 })
    );
    let shown = scene.writ(&format!("stream show {id}"));
    assert!(
        shown.stdout.contains("https://weather.example/mcp"),
        "{shown:?}"
    );

    let paused = scene.json(&format!("stream pause {id} --reason slow"));
    assert_eq!(
        (&paused["status"], &paused["reason"]),
        (&json!("paused"), &json!("slow"))
    );
    assert_eq!(
        scene.json(&format!("stream disable {id}"))["status"],
        "disabled"
    );
    assert_eq!(
        scene.json(&format!("stream enable {id}"))["status"],
        "enabled"
    );
    let removed = scene.json(&format!("stream remove {id}"));
    assert_eq!(removed, json!({ "removed": { "stream": id } }));
    assert!(
        scene
            .refused(&format!("stream show {id}"))
            .contains("no such stream")
    );
    let kinds = scene.json("audit list --kind event.emitted");
    assert_eq!(kinds.as_array().unwrap().len(), 3);
}

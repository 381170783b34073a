//! Log records: what is in them and what never is.

use reqwest::{Client, Method, RequestBuilder, Response};
use sea_orm::{ConnectionTrait as _, Database};
use serde_json::{Value, json};

use super::Running;

/// In everything that must not be logged.
const MARK: &str = "MARK0never1logged2";

/// The answer's body and id.
async fn answered(request: RequestBuilder) -> (u16, String, String) {
    let answer: Response = request.send().await.unwrap();
    let id = answer.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    (answer.status().as_u16(), answer.text().await.unwrap(), id)
}

/// Sends what a client may, and what it should not, with marks in every secret place; gives what
/// the server has given out in secret.
async fn provoke(server: &Running) -> Vec<String> {
    let (client, issuer) = (Client::new(), &server.issuer);
    let secret = server.admin_secret();
    let admin = format!("{issuer}/admin");
    let form = [
        ("grant_type", "client_credentials"),
        ("resource", admin.as_str()),
        ("scope", "writ:admin"),
    ];
    let request = client.post(format!("{issuer}/token")).form(&form);
    let (status, body, _) = answered(request.basic_auth("admin", Some(&secret))).await;
    assert_eq!(status, 200, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    let token = body["access_token"].as_str().unwrap().to_owned();
    let signature = token.rsplit('.').next().unwrap().to_owned();

    let metadata = json!({ "redirect_uris": [format!("https://app.example/?{MARK}")] });
    let request = client.post(format!("{issuer}/register")).json(&metadata);
    let (status, body, _) = answered(request).await;
    assert_eq!(status, 201, "{body}");
    let registered: Value = serde_json::from_str(&body).unwrap();
    let managing = registered["registration_access_token"].as_str().unwrap();

    let exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
    let jwt = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let token_type = "urn:ietf:params:oauth:token-type:access_token";
    let own = [("client_id", "admin"), ("client_secret", secret.as_str())];
    let forms: &[&[(&str, &str)]] = &[
        &[("client_id", "admin"), ("client_secret", MARK)],
        &[("client_id", MARK), ("client_secret", MARK)],
        &[("client_assertion_type", jwt), ("client_assertion", MARK)],
        &[
            ("client_assertion_type", MARK),
            ("client_assertion", "a.b.c"),
        ],
        &[
            ("grant_type", "authorization_code"),
            ("code", MARK),
            ("code_verifier", MARK),
        ],
        &[("grant_type", "refresh_token"), ("refresh_token", MARK)],
        &[("grant_type", MARK)],
        &[("grant_type", "client_credentials"), ("scope", MARK)],
        &[("grant_type", "client_credentials"), ("resource", MARK)],
        &[
            ("grant_type", "client_credentials"),
            ("resource", "https://x.example/?MARK0never1logged2"),
        ],
        &[
            ("grant_type", exchange),
            ("subject_token", MARK),
            ("subject_token_type", token_type),
            ("actor_token", MARK),
            ("actor_token_type", token_type),
        ],
        &[(MARK, MARK), (MARK, MARK)],
    ];
    for form in forms {
        for with_own in [false, true] {
            let mut form = form.to_vec();
            if with_own {
                form.extend(own);
            }
            let request = client.post(format!("{issuer}/token?{MARK}")).form(&form);
            answered(request.header("cookie", MARK).header("dpop", MARK)).await;
        }
    }
    let paths = [
        "/token",
        "/register",
        "/register/MARK0never1logged2",
        "/authorize",
        "/jwks.json",
        "/MARK0never1logged2",
        "/t/MARK0never1logged2/token",
        "/admin/clients",
        "/admin/apply",
        "/admin/clients/MARK0never1logged2",
        "/admin/audit",
        "/admin/MARK0never1logged2",
        "/healthz",
        "/readyz",
        "/metrics",
        "/.well-known/oauth-authorization-server",
        "/.well-known/MARK0never1logged2",
        "/introspect",
        "/revoke",
        "/resources",
    ];
    for path in paths {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            let url = format!("{issuer}{path}?secret={MARK}&code={MARK}");
            let request = client.request(method.clone(), url).bearer_auth(MARK);
            let request = request.header("cookie", format!("session={MARK}"));
            answered(request.body(MARK).header("content-type", MARK)).await;
            if method != Method::DELETE {
                let url = format!("{issuer}{path}?secret={MARK}");
                let request = client.request(method, url).bearer_auth(&token);
                answered(request.json(&json!({ "client_secret": MARK, MARK: MARK }))).await;
            }
        }
    }
    vec![MARK.into(), secret, token, signature, managing.to_owned()]
}

// AC-331
#[tokio::test]
async fn nothing_secret_is_ever_logged() {
    for format in ["json", "text"] {
        let server = Running::start(&[
            ("WRIT_TELEMETRY__FORMAT", format),
            ("WRIT_TELEMETRY__FILTER", "trace,hyper=trace,sqlx=trace"),
            ("WRIT_TELEMETRY__REQUESTS", "all"),
        ])
        .await;
        let secrets = provoke(&server).await;
        let log = server.log();
        assert!(log.lines().count() > 150, "too little was logged: {log}");
        assert!(log.contains("/register/{client_id}"), "{log}");
        for secret in secrets {
            let found = log.lines().find(|line| line.contains(&secret));
            assert_eq!(found, None, "{format}");
        }
    }
}

#[tokio::test]
async fn a_line_says_who_asked_for_what_and_how_it_ended() {
    let server = Running::start(&[
        ("WRIT_TELEMETRY__FORMAT", "json"),
        ("WRIT_TELEMETRY__REQUESTS", "all"),
    ])
    .await;
    let (client, issuer) = (Client::new(), &server.issuer);
    let form = [("grant_type", "client_credentials"), ("scope", "nothing")];
    let request = client.post(format!("{issuer}/token")).form(&form);
    let request = request.basic_auth("admin", Some(server.admin_secret()));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-00");
    let (status, _, id) = answered(request.header("traceparent", parent)).await;
    assert_eq!(status, 400);
    answered(client.get(format!("{issuer}/healthz"))).await;
    let lines = server.lines();
    let requests: Vec<&Value> = lines
        .iter()
        .filter(|line| line["message"] == "answered")
        .collect();
    let [refused, healthy] = requests.as_slice() else {
        panic!("{lines:?}");
    };
    assert_eq!(refused["request_id"], id);
    assert_eq!(refused["trace_id"], trace);
    assert_eq!(refused["tenant"], "default");
    assert_eq!(refused["level"], "INFO");
    assert!(refused["timestamp"].as_str().unwrap().ends_with('Z'));
    let fields = &refused["fields"];
    assert!(fields["micros"].as_u64().unwrap() > 0);
    assert_eq!(
        [
            &fields["method"],
            &fields["route"],
            &fields["status"],
            &fields["error"],
            &fields["client_id"],
            &fields["address"],
        ],
        [
            &json!("POST"),
            &json!("/token"),
            &json!(400),
            &json!("invalid_scope"),
            &json!("admin"),
            &json!("127.0.0.1"),
        ]
    );
    assert_eq!(healthy["fields"]["route"], "/healthz");
    assert!(healthy["fields"].get("client_id").is_none());
}

#[tokio::test]
async fn refusals_are_logged_up_to_a_number_a_second() {
    let server = Running::start(&[("WRIT_TELEMETRY__FORMAT", "json")]).await;
    let (client, issuer) = (Client::new(), &server.issuer);
    let began = tokio::time::Instant::now();
    for _ in 0..400 {
        answered(client.get(format!("{issuer}/nothing"))).await;
    }
    let seconds = began.elapsed().as_secs() as usize + 2;
    answered(client.get(format!("{issuer}/healthz"))).await;
    let lines = server.lines();
    let of = |message: &str| lines.iter().filter(|l| l["message"] == message).count();
    let written = of("answered");
    assert!(
        (100..400).contains(&written) && written <= 100 * seconds,
        "{written}"
    );
    assert!(
        lines
            .iter()
            .all(|line| line["fields"]["route"] != "/healthz")
    );
}

#[tokio::test]
async fn the_cause_of_a_failure_is_logged_once_and_not_answered() {
    let server = Running::start(&[("WRIT_TELEMETRY__FORMAT", "json")]).await;
    let (client, issuer) = (Client::new(), &server.issuer);
    let resource = format!("{issuer}/admin");
    let form = [
        ("grant_type", "client_credentials"),
        ("resource", &resource),
        ("scope", "writ:audit"),
    ];
    let request = client.post(format!("{issuer}/token")).form(&form);
    let request = request.basic_auth("admin", Some(server.admin_secret()));
    let (_, token, _) = answered(request).await;
    let token: Value = serde_json::from_str(&token).unwrap();
    // A hand at the database that is not the server's.
    let path = server.directory.path().join("data/writ.db");
    let db = Database::connect(format!("sqlite://{}", path.display()));
    let away = "ALTER TABLE audit_event RENAME TO elsewhere";
    db.await.unwrap().execute_unprepared(away).await.unwrap();
    let request = client.get(format!("{issuer}/admin/audit"));
    let token = token["access_token"].as_str().unwrap();
    let (status, body, id) = answered(request.bearer_auth(token)).await;
    assert_eq!(status, 500);
    assert!(!body.contains("audit_event"), "{body}");
    let lines = server.lines().into_iter();
    let told: Vec<Value> = lines
        .filter(|line| line.to_string().contains("no such table"))
        .collect();
    let [line] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["request_id"], id);
    assert_eq!(line["fields"]["error"], "server_error");
}

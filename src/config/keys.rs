//! Every key and what it may hold.

use writ_resource::claims::MAX_ACTORS;

/// What a key may hold.
#[derive(Clone, Copy, Debug)]
pub(super) enum Allowed {
    /// A whole number between these, both included.
    Number(i64, i64),
    /// What these words say.
    Words(&'static str),
    /// A list of what these words say.
    List(&'static str),
}

/// More than any machine answers.
const RATE: i64 = 1_000_000;

/// Hosts by name, or all below one.
const HOSTS: Allowed = Allowed::List(
    "hosts in lower case, for example [\"app.example\", \"*.example.com\"]; *. stands for any \
     name below, not for the domain itself",
);

/// Every key and what it may hold.
pub(super) const KEYS: &[(&str, Allowed)] = {
    use Allowed::{List, Number, Words};
    &[
        (
            "server.listen",
            Words("an address and a port, for example 127.0.0.1:4455; port 0 picks a free one"),
        ),
        (
            "server.issuer",
            Words(
                "an https URL (http on loopback only) without query, fragment, % and empty \
                 segments, for example https://auth.example/main",
            ),
        ),
        ("server.shutdown_delay", Number(0, 600)),
        (
            "server.trusted_proxies",
            List("networks, for example [\"10.0.0.0/8\", \"192.0.2.7/32\", \"2001:db8::/32\"]"),
        ),
        (
            "tls.certificate",
            Words("the path of a PEM file with the certificate chain; set with tls.private_key"),
        ),
        (
            "tls.private_key",
            Words("the path of a PEM file with the private key; set with tls.certificate"),
        ),
        ("storage.data_dir", Words("the path of a directory")),
        (
            "storage.url",
            Words(
                "empty for SQLite in storage.data_dir, or a PostgreSQL URL, for example \
                 postgres://writ@db.example/writ?sslmode=verify-full",
            ),
        ),
        ("storage.node", Words("1 to 64 printable ASCII characters")),
        ("storage.queue", Number(1, 1 << 20)),
        (
            "keys.sealing_key",
            Words("the path of a file; empty for sealing.key in storage.data_dir"),
        ),
        ("keys.rotate_after", Number(0, 10 * 365 * 86_400)),
        ("keys.publish_before_use", Number(0, 30 * 86_400)),
        ("keys.cache", Number(0, 86_400)),
        // A longer chain could be issued, but nobody would read it.
        ("policy.max_delegation_depth", Number(0, MAX_ACTORS as i64)),
        ("authorization.code_lifetime", Number(1, 600)),
        // FAPI 2.0 Security Profile §5.3.2.2: less than 600.
        ("authorization.pushed_request_lifetime", Number(5, 599)),
        ("authorization.patience", Number(60, 86_400)),
        ("authorization.id_token_lifetime", Number(10, 86_400)),
        (
            "authorization.refresh_token_idle",
            Number(60, 10 * 365 * 86_400),
        ),
        (
            "authorization.refresh_token_lifetime",
            Number(0, 10 * 365 * 86_400),
        ),
        ("authorization.refresh_token_grace", Number(0, 600)),
        (
            "authorization.default_resource",
            Words("the id or URI of a resource, or nothing for none"),
        ),
        ("registration.mode", Words("open, token or off")),
        ("registration.max_clients", Number(0, 10_000_000)),
        ("registration.unused_lifetime", Number(0, 10 * 365 * 86_400)),
        ("clients.assertion_leeway", Number(0, 300)),
        ("clients.assertion_lifetime", Number(10, 86_400)),
        ("metadata_documents.enabled", Words("true or false")),
        ("metadata_documents.allow", HOSTS),
        ("metadata_documents.deny", HOSTS),
        ("metadata_documents.max_body", Number(1024, 1 << 20)),
        ("metadata_documents.timeout", Number(1, 60)),
        ("metadata_documents.min_age", Number(1, 86_400)),
        ("metadata_documents.default_age", Number(1, 86_400)),
        ("metadata_documents.max_age", Number(1, 86_400)),
        ("dpop.require_nonce", Words("true or false")),
        ("dpop.proof_lifetime", Number(10, 600)),
        ("dpop.nonce_lifetime", Number(10, 3600)),
        ("limits.body", Number(1024, 1 << 24)),
        ("limits.admin_body", Number(1024, 1 << 28)),
        ("limits.headers", Number(8192, 1 << 20)),
        ("limits.connections", Number(1, 1 << 20)),
        ("limits.request_timeout", Number(1, 600)),
        ("limits.header_timeout", Number(1, 600)),
        ("limits.client_rate", Number(0, RATE)),
        ("limits.client_burst", Number(1, RATE)),
        ("limits.address_rate", Number(0, RATE)),
        ("limits.address_burst", Number(1, RATE)),
        ("limits.failure_rate", Number(0, RATE)),
        ("limits.failure_burst", Number(1, RATE)),
        ("limits.registration_rate", Number(0, RATE)),
        ("limits.registration_burst", Number(1, RATE)),
        ("limits.document_rate", Number(0, RATE)),
        ("limits.document_burst", Number(1, RATE)),
        ("limits.arrival_rate", Number(0, RATE)),
        ("limits.arrival_burst", Number(1, RATE)),
        ("fetch.timeout", Number(1, 60)),
        ("fetch.max_body", Number(1024, 1 << 24)),
        (
            "fetch.extra_ca",
            Words("the path of a PEM file with certificates; empty for none"),
        ),
        (
            "fetch.allow_private_addresses_for_tests",
            Words("true or false"),
        ),
        ("events.streams_per_client", Number(1, 10_000)),
        ("events.verification_interval", Number(0, 86_400)),
        ("events.poll_wait", Number(1, 300)),
        ("events.feed_keep_alive", Number(1, 300)),
        ("events.push_timeout", Number(1, 60)),
        ("events.push_connect_timeout", Number(1, 60)),
        ("events.push_connections", Number(1, 100_000)),
        ("events.give_up", Number(60, 7 * 86_400)),
        ("audit.refusals_per_minute", Number(0, 1_000_000)),
        ("audit.retention", Number(0, 36_500)),
        ("audit.export_format", Words("ocsf or jsonl")),
        (
            "audit.export_file",
            Words("the path of a file, or nothing to write none"),
        ),
        (
            "audit.export_webhook",
            Words("an https URL, or nothing to post to none"),
        ),
        (
            "audit.export_webhook_token_file",
            Words("the path of a file that holds a bearer token, or nothing to send none"),
        ),
        ("audit.export_webhook_private", Words("true or false")),
        (
            "audit.export_syslog",
            Words("udp://host:port or tcp://host:port, or nothing to send to none"),
        ),
        ("users.sign_up", Words("open or off")),
        ("users.session_idle", Number(60, 10 * 365 * 86_400)),
        ("users.session_lifetime", Number(60, 10 * 365 * 86_400)),
        ("users.recent", Number(10, 86_400)),
        ("users.password_length", Number(8, 64)),
        ("users.hashing", Number(1, 64)),
        ("users.guesses", Number(1, 1000)),
        ("users.guess_interval", Number(1, 3600)),
        ("upstream.*.name", Words("a name that people know")),
        (
            "upstream.*.issuer",
            Words(
                "the https URL that the provider calls itself, to the letter, for example \
                 https://accounts.google.com",
            ),
        ),
        (
            "upstream.*.client_id",
            Words("the client_id that the provider has given to this server"),
        ),
        (
            "upstream.*.client_secret_file",
            Words("the path of a file that holds the client's secret, or nothing for none"),
        ),
        (
            "upstream.*.private_key_file",
            Words(
                "the path of a PEM file with a PKCS#8 private key (RSA, P-256 or Ed25519), or \
                 nothing for none; not together with client_secret_file",
            ),
        ),
        (
            "upstream.*.scopes",
            Words("scopes with a space between them, openid among them"),
        ),
        ("upstream.*.sign_up", Words("open or off")),
        ("upstream.*.link_by_verified_email", Words("true or false")),
        (
            "upstream.*.allowed_domains",
            List("domains in lower case, for example [\"example.com\"]"),
        ),
        ("upstream.*.private_addresses", Words("true or false")),
        ("pages.product", Words("a name that people know")),
        (
            "pages.theme",
            Words("the path of a CSS file, or nothing for the look that is built in"),
        ),
        (
            "telemetry.filter",
            Words("directives in the syntax of RUST_LOG, for example info,writ=debug"),
        ),
        ("telemetry.format", Words("text or json")),
        ("telemetry.requests", Words("off, refused or all")),
        (
            "telemetry.metrics_listen",
            Words("an address and a port, for example 127.0.0.1:9464; empty for none"),
        ),
        (
            "telemetry.otlp_endpoint",
            Words(
                "the http or https URL of an OTLP/HTTP collector without the path /v1/traces, for \
                 example http://127.0.0.1:4318; empty for none",
            ),
        ),
        ("telemetry.otlp_sample", Number(0, 10_000)),
    ]
};

/// What a key, or a section, may hold, in words.
pub(super) fn allowed(key: &str) -> String {
    // An element of a list is named by its position.
    let key = key.trim_end_matches(|c: char| c.is_ascii_digit());
    let key = key.strip_suffix('.').unwrap_or(key);
    let key = &pattern(key);
    match KEYS.iter().find(|(known, _)| known == key) {
        Some((_, Allowed::Number(low, high))) => format!("a whole number, {low}..={high}"),
        Some((_, Allowed::Words(words) | Allowed::List(words))) => (*words).to_owned(),
        None => {
            let section = format!("{key}.");
            let keys: Vec<&str> = KEYS
                .iter()
                .filter_map(|(known, _)| known.strip_prefix(&section))
                .collect();
            if keys.is_empty() {
                "TOML; config/default.toml lists every section and key".to_owned()
            } else {
                format!("a section with the keys {}", keys.join(", "))
            }
        }
    }
}

/// A key as [`KEYS`] lists it: providers have names of their own.
fn pattern(key: &str) -> String {
    let mut parts: Vec<&str> = key.split('.').collect();
    if let ["upstream", name, ..] = parts.as_mut_slice() {
        *name = "*";
    }
    parts.join(".")
}

//! Configuration: a bad value names its key, where it came from and what is allowed.

mod files;

use std::path::Path;

use writ::config::{Config, Overrides};

fn load(text: &str) -> Result<Config, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("writ.toml");
    std::fs::write(&file, text).unwrap();
    let overrides = Overrides {
        file: Some(file),
        ..Overrides::default()
    };
    Config::load(&overrides).map_err(|error| error.to_string())
}

#[test]
fn a_bad_value_names_key_origin_and_what_is_allowed() {
    for (text, key, allowed) in [
        ("[storage]\nqueue = 0", "storage.queue", "1..="),
        ("[keys]\nrotate_after = -1", "keys.rotate_after", "0..="),
        ("[keys]\ncache = 100000", "keys.cache", "0..="),
        (
            "[policy]\nmax_delegation_depth = 99",
            "policy.max_delegation_depth",
            "0..=16",
        ),
        (
            "[clients]\nassertion_leeway = 301",
            "clients.assertion_leeway",
            "0..=300",
        ),
        (
            "[authorization]\npushed_request_lifetime = 600",
            "authorization.pushed_request_lifetime",
            "5..=599",
        ),
        ("[limits]\nbody = 10", "limits.body", "1024..="),
        ("[limits]\nheaders = 1", "limits.headers", "8192..="),
        (
            "[limits]\nrequest_timeout = 0",
            "limits.request_timeout",
            "1..=",
        ),
        ("[fetch]\ntimeout = 0", "fetch.timeout", "1..=60"),
        ("[storage]\nnode = \"\"", "storage.node", "printable"),
        (
            "[server]\nissuer = \"http://as.example\"",
            "server.issuer",
            "https",
        ),
        (
            "[server]\nissuer = \"https://as.example/\"",
            "server.issuer",
            "https",
        ),
        (
            "[server]\nissuer = \"https://as.example?x\"",
            "server.issuer",
            "https",
        ),
        (
            "[registration]\nmode = \"maybe\"",
            "registration.mode",
            "open",
        ),
        ("[limits]\nbody = \"big\"", "limits.body", ""),
        ("[limits]\nbodies = 1", "limits", "body"),
        ("[limit]\nbody = 1", "limit", "limits"),
    ] {
        let error = load(text).expect_err(text);
        assert!(error.contains(key), "{text}: {error}");
        assert!(error.contains("writ.toml"), "{text}: {error}");
        let line = error
            .lines()
            .find(|l| l.contains("allowed:"))
            .expect(&error);
        assert!(line.contains(allowed), "{text}: {error}");
    }
}

#[test]
fn an_address_for_others_needs_an_issuer_and_the_origin_is_plain() {
    let error = load("[server]\nlisten = \"0.0.0.0:80\"").unwrap_err();
    assert!(
        error.contains("server.issuer") && error.contains("0.0.0.0:80"),
        "{error}"
    );
    // Nobody set it: no place in the source is a help to an operator.
    assert!(!error.contains(".rs"), "{error}");
}

#[test]
fn a_file_changes_what_it_mentions_and_leaves_the_rest() {
    let config = load("[keys]\ncache = 5\n[registration]\nmode = \"token\"").unwrap();
    assert_eq!(config.keys.cache, 5);
    assert_eq!(
        config.registration.mode,
        writ::config::RegistrationMode::Token
    );
    assert_eq!(config.limits, Config::default().limits);
}

#[test]
fn flags_win_over_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("writ.toml");
    std::fs::write(&file, "[server]\nissuer = \"https://file.example\"").unwrap();
    let overrides = Overrides {
        file: Some(file),
        issuer: Some("https://flag.example".into()),
        data_dir: Some("elsewhere".into()),
        ..Overrides::default()
    };
    let config = Config::load(&overrides).unwrap();
    assert_eq!(config.server.issuer, "https://flag.example");
    assert_eq!(config.storage.data_dir, Path::new("elsewhere"));
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    let overrides = Overrides {
        file: Some("no-such-file.toml".into()),
        ..Overrides::default()
    };
    let error = Config::load(&overrides).unwrap_err().to_string();
    assert!(error.contains("no-such-file.toml") && error.contains("allowed:"));
}

#[test]
fn a_file_that_is_not_toml_is_an_error_and_no_panic() {
    for text in [
        "[",
        "x",
        "[server]\nlisten = 3",
        "server = 1",
        "[server]\nlisten = \"here\"",
    ] {
        let error = load(text).expect_err(text);
        assert!(error.contains("allowed:"), "{text}: {error}");
    }
}

#[test]
fn the_issuer_follows_the_port_until_it_is_configured() {
    let bound = "127.0.0.1:5555".parse().unwrap();
    assert_eq!(Config::default().issuer(bound), "http://127.0.0.1:5555");
    let config = load("[server]\nissuer = \"https://as.example/id\"").unwrap();
    assert_eq!(config.issuer(bound), "https://as.example/id");
}

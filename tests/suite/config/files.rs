//! The files for operators in `config/`: what they set exists, and holds together.

use std::{
    collections::BTreeMap,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use writ::config::{Config, Overrides};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("config")
        .join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

fn load(file: PathBuf) -> Config {
    let overrides = Overrides {
        file: Some(file),
        ..Overrides::default()
    };
    Config::load(&overrides).unwrap_or_else(|error| panic!("{error}"))
}

/// The settings that variables of the environment make, as the server reads a file of them.
fn load_variables<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Config {
    let mut sections: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in variables {
        let key = name.strip_prefix("WRIT_").expect(name).to_lowercase();
        let (section, key) = key.split_once("__").expect(name);
        let line = format!("{key} = {value:?}\n");
        sections
            .entry(section.to_owned())
            .or_default()
            .push_str(&line);
    }
    let text: String = sections
        .iter()
        .map(|(section, lines)| format!("[{section}]\n{lines}"))
        .collect();
    let written = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(written.path(), text).unwrap();
    load(written.path().to_owned())
}

#[test]
fn the_file_of_a_cluster_sets_what_differs() {
    let config = load(file("cluster.toml"));
    assert!(config.storage.url.starts_with("postgres://"));
    assert!(!config.server.trusted_proxies.is_empty());
    let written: toml::Table = text("cluster.toml").parse().unwrap();
    let built_in = toml::Table::try_from(Config::default()).unwrap();
    for (section, keys) in &written {
        for (key, value) in keys.as_table().unwrap() {
            assert_ne!(built_in[section].get(key), Some(value), "{section}.{key}");
        }
    }
}

#[test]
fn the_nodes_of_the_compose_file_share_all_but_their_names() {
    let mut document: serde_norway::Value = serde_norway::from_str(&text("compose.yaml")).unwrap();
    document.apply_merge().unwrap();
    let document: Value = serde_json::to_value(document).unwrap();
    let services = &document["services"];
    let nodes = ["a", "b"].map(|name| {
        let variables = services[name]["environment"].as_object().unwrap();
        let variables = variables
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str().unwrap()));
        let mut config = load_variables(variables);
        assert_eq!(config.storage.node, name);
        config.storage.node.clear();
        assert!(config.storage.url.contains("@db/"));
        let key = config
            .keys
            .sealing_key
            .parent()
            .unwrap()
            .display()
            .to_string();
        let volumes = services[name]["volumes"].as_array().unwrap();
        let shared = format!("keys:{key}");
        assert!(volumes.iter().any(|v| *v == shared), "{volumes:?}");
        assert!(
            volumes
                .iter()
                .any(|v| *v == format!("{name}:/var/lib/writ"))
        );
        let published = services[name]["ports"][0].as_str().unwrap();
        assert!(published.starts_with("127.0.0.1:"), "{published}");
        let port = format!(":{}", config.server.listen.port());
        assert!(published.ends_with(&port), "{published}");
        config
    });
    assert_eq!(nodes[0], nodes[1]);
    let build = &services["a"]["build"];
    assert_eq!(build["dockerfile"], "config/Dockerfile");
    assert!(
        services["db"]["image"]
            .as_str()
            .unwrap()
            .starts_with("postgres:")
    );
    for volume in ["db", "a", "b", "keys"] {
        assert!(document["volumes"].get(volume).is_some(), "{volume}");
    }
}

#[test]
fn the_image_is_built_from_what_is_there() {
    let steps = text("Dockerfile");
    let toolchain = include_str!("../../../Cargo.toml")
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .unwrap()
        .trim_matches('"');
    assert!(
        steps.contains(&format!("FROM rust:{toolchain}-")),
        "{toolchain}"
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let kept = text("Dockerfile.dockerignore");
    let kept: Vec<&str> = kept
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .collect();
    for path in &kept {
        assert!(root.join(path).exists(), "{path}");
    }
    // What the build includes from outside of src.
    for needed in ["config/default.toml", "entity", "migration", "sdk", "src"] {
        assert!(kept.contains(&needed), "{needed}");
    }
}

#[test]
fn the_unit_is_well_formed_and_its_settings_exist() {
    let unit = text("writ.service");
    let mut sections: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    let mut section = "";
    for line in unit.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            section = name.strip_suffix(']').unwrap();
            continue;
        }
        let setting = line.split_once('=').expect(line);
        sections.entry(section).or_default().push(setting);
    }
    assert_eq!(
        sections.keys().copied().collect::<Vec<_>>(),
        ["Install", "Service", "Unit"]
    );
    let service = &sections["Service"];
    let all = |name: &str| -> Vec<&str> {
        let settings = service.iter().filter(|(key, _)| *key == name);
        settings.map(|(_, value)| *value).collect()
    };
    assert_eq!(all("Type"), ["notify"]);
    assert_eq!(all("ExecStart"), ["/usr/local/bin/writ serve"]);
    for hardened in [
        "DynamicUser",
        "NoNewPrivileges",
        "PrivateTmp",
        "ProtectHome",
    ] {
        assert_eq!(all(hardened), ["yes"], "{hardened}");
    }
    assert_eq!(all("ProtectSystem"), ["strict"]);
    let variables = all("Environment");
    let variables = variables.iter().map(|v| v.split_once('=').unwrap());
    let config = load_variables(variables);
    // `%S` is /var/lib, where the state directory is the only place to write.
    assert_eq!(config.storage.data_dir, Path::new("%S/writ"));
    assert_eq!(all("StateDirectory"), ["writ"]);
    let examples = unit
        .lines()
        .filter_map(|line| line.strip_prefix("# Environment="));
    let examples: Vec<_> = examples.map(|e| e.split_once('=').unwrap()).collect();
    assert!(!examples.is_empty());
    load_variables(examples);
}

#[test]
fn a_service_manager_is_told_of_start_and_stop() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(120)))
        .unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_writ"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"])
        .env("NOTIFY_SOCKET", &path)
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let heard = || {
        let mut text = [0; 64];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    assert_eq!(heard(), "READY=1");
    let pid = server.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    assert_eq!(heard(), "STOPPING=1");
    assert!(server.wait().unwrap().success());
}

#[test]
fn the_proxies_name_the_client_and_nothing_else() {
    // nginx adds to what the client wrote unless it is told otherwise, and hands on the rest.
    let nginx = text("nginx.conf");
    assert!(nginx.contains("proxy_set_header X-Forwarded-For $remote_addr;"));
    assert!(nginx.contains("proxy_set_header Forwarded \"\";"));
    assert!(text("Caddyfile").contains("header_up -Forwarded"));
    for example in ["nginx.conf", "Caddyfile"] {
        let text = text(example);
        let settings: String = text
            .lines()
            .filter_map(|line| line.strip_prefix("#   "))
            .map(|line| format!("{line}\n"))
            .collect();
        let written = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(written.path(), settings).unwrap();
        let config = load(written.path().to_owned());
        assert!(!config.server.trusted_proxies.is_empty(), "{example}");
    }
}

//! Declarations in files: TOML, JSON or YAML, told apart by their ending.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Failure;

/// Reads a file as JSON, whichever of the three it is written in.
///
/// # Errors
/// Names the file, and the line where the parser knows it.
pub(super) fn read_value(path: &Path) -> Result<Value, Failure> {
    let text = std::fs::read_to_string(path).map_err(|why| Failure::from(why).at(path))?;
    let ending = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    match ending {
        "toml" => toml::from_str(&text).map_err(|why| why.to_string()),
        "json" => serde_json::from_str(&text).map_err(|why| why.to_string()),
        "yaml" | "yml" => serde_norway::from_str(&text).map_err(|why| why.to_string()),
        _ => Err("the name must end in .toml, .json, .yaml or .yml".to_owned()),
    }
    .map_err(|why| Failure::new(why.trim_end()).at(path))
}

/// Reads a file as `T`; an unknown or wrong key is named by its path.
///
/// # Errors
/// As [`read_value`], and for keys that do not belong.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    check(path, read_value(path)?)
}

/// Reads a file's value as `T`; an unknown or wrong key is named by its path.
///
/// # Errors
/// For keys that do not belong and values that do not fit.
pub(super) fn check<T: DeserializeOwned>(path: &Path, value: Value) -> Result<T, Failure> {
    fits(value).map_err(|why| why.at(path))
}

/// Reads a value as `T`; an unknown or wrong key is named by its path.
///
/// # Errors
/// For keys that do not belong and values that do not fit.
pub(super) fn fits<T: DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_path_to_error::deserialize(value).map_err(|why| {
        let key = why.path().to_string();
        let why = why.into_inner();
        match key.as_str() {
            "." => Failure::new(why.to_string()),
            key => Failure::new(format!("{key}: {why}")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::apply::Declaration;

    const TOML: &str = "
        [[resources]]
        id = 'weather'
        resource = 'http://127.0.0.1:8000/mcp'
        tools = [{ name = 'forecast' }]
        [[clients]]
        client_id = 'agent'
        access = [{ resource = 'weather', scopes = ['tool:forecast'] }]
    ";

    fn file(name: &str, text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        (directory, path)
    }

    #[test]
    fn one_declaration_in_three_languages() {
        let (_kept, toml) = file("a.toml", TOML);
        let value = read_value(&toml).unwrap();
        let (_kept, json) = file("a.json", &value.to_string());
        let (_kept, yaml) = file("a.yaml", &serde_norway::to_string(&value).unwrap());
        for path in [toml, json, yaml] {
            let declaration: Declaration = read(&path).unwrap();
            assert_eq!(declaration.resources[0].document.tools[0].name, "forecast");
            assert_eq!(declaration.clients[0].client_id, "agent");
        }
    }

    #[test]
    fn what_does_not_belong_is_named_by_file_and_key() {
        for (text, key) in [
            ("resorces = []", "unknown field `resorces`"),
            (
                "clients = [{ client_id = 'a', secret = 'x' }]",
                "clients[0]",
            ),
            (
                "clients = [{ client_id = 'a', access = [{ resource = 'x', scope = [] }] }]",
                "clients[0].access[0]",
            ),
            ("clients = [{ client_id = 7 }]", "clients[0].client_id"),
            (
                "resources = [{ resource = 'x', tool = [] }]",
                "resources[0]",
            ),
            ("a = = 1", "line 1"),
        ] {
            let (_kept, path) = file("bad.toml", text);
            let why = read::<Declaration>(&path).unwrap_err().to_string();
            assert!(why.contains("bad.toml") && why.contains(key), "{why}");
        }
        let (_kept, path) = file("declaration.txt", "");
        let why = read_value(&path).unwrap_err().to_string();
        assert!(why.contains(".toml, .json, .yaml"), "{why}");
    }
}

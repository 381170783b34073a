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
    let place = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|why| Failure::new(format!("{place}: {why}")))?;
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
    .map_err(|why| Failure::new(format!("{place}: {why}")))
}

/// Reads a file as `T`; an unknown or wrong key is named by its path.
///
/// # Errors
/// As [`read_value`], and for keys that do not belong.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let value = read_value(path)?;
    serde_path_to_error::deserialize(value).map_err(|why| {
        let key = why.path().to_string();
        Failure::new(format!("{}: {key}: {}", path.display(), why.inner()))
    })
}

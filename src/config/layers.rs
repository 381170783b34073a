//! Values that do not come from a file: the environment's, and those of flags.

use std::ffi::OsString;

use figment::{
    Metadata, Profile, Provider,
    util::nest,
    value::{Dict, Map, Value},
};

use super::{
    ConfigError,
    keys::{Allowed, KEYS, allowed},
};

/// Values from one place, which their errors name.
pub(super) struct Layer {
    place: String,
    values: Dict,
}

impl Layer {
    /// One value that was set by itself.
    pub(super) fn one(place: String, key: &str, value: Value) -> Self {
        let values = nest(key, value).into_dict().unwrap_or_default();
        Self { place, values }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.place.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

/// How every variable of ours begins.
const PREFIX: &str = "WRIT_";

/// Variables that stand for flags.
const FOR_FLAGS: [&str; 2] = ["WRIT_CONFIG", "WRIT_CREDENTIALS"];

/// The environment's variable for a key: `[server] listen` is `WRIT_SERVER__LISTEN`.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// The key that a variable sets, if it is this one: `[upstream.a] issuer` is
/// `WRIT_UPSTREAM__A__ISSUER`.
fn key_of(key: &str, name: &str) -> Option<String> {
    let variable = variable(key);
    let Some((before, after)) = variable.split_once('*') else {
        return (variable == name).then(|| key.to_owned());
    };
    let id = name.strip_prefix(before)?.strip_suffix(after)?;
    Some(key.replace('*', &id.to_ascii_lowercase()))
}

/// What the variables of the environment set.
pub(super) fn environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<Layer>, ConfigError> {
    let mut layers = Vec::new();
    for (name, value) in variables {
        let name = name.to_string_lossy();
        if !name.starts_with(PREFIX) || FOR_FLAGS.contains(&&*name) || is_service_link(&name) {
            continue;
        }
        let refuse = |problem: &str, allowed: String| ConfigError {
            key: name.to_string(),
            problem: problem.into(),
            origin: "the environment".into(),
            allowed,
        };
        let Some((key, kind)) = KEYS.iter().find_map(|(key, kind)| {
            let key = key_of(key, &name)?;
            Some((key, kind))
        }) else {
            return Err(refuse("there is no such variable", instead_of(&name)));
        };
        let Ok(text) = value.into_string() else {
            return Err(refuse("is not UTF-8", allowed(&key)));
        };
        // A node may be called 1, and an issuer is no date: only what is not text is parsed.
        let value = match kind {
            Allowed::Words("true or false") | Allowed::Number(..) | Allowed::List(_) => {
                text.parse()
            }
            Allowed::Words(_) => Ok(text.into()),
        };
        let Ok(value) = value;
        let place = format!("the environment ({name})");
        layers.push(Layer::one(place, &key, value));
    }
    Ok(layers)
}

/// What an unknown variable may have been meant to be: the same letters, other underscores.
fn instead_of(name: &str) -> String {
    let letters = |name: &str| name.to_ascii_uppercase().replace('_', "");
    let meant = |known: &str| {
        let (known, name) = (letters(known), letters(name));
        known == name || known.ends_with(name.trim_start_matches("WRIT"))
    };
    let known: Vec<String> = KEYS.iter().map(|(key, _)| variable(key)).collect();
    let known = known.iter().map(String::as_str).chain(FOR_FLAGS);
    match known.filter(|known| meant(known)).collect::<Vec<_>>() {
        meant if meant.is_empty() => {
            "WRIT_SECTION__KEY, two underscores between; config/default.toml lists them".into()
        }
        meant => meant.join(" or "),
    }
}

/// Kubernetes tells every container about the services around it: one called `writ` appears as
/// `WRIT_SERVICE_HOST`, `WRIT_PORT_443_TCP` and so on. Nobody has typed those.
fn is_service_link(name: &str) -> bool {
    name.ends_with("_PORT")
        || ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT_"]
            .iter()
            .any(|part| name.contains(part))
}

//! Words of OpenID Connect Core 1.0: scopes about the person, prompts, requested claims.

use std::{collections::BTreeMap, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A scope about the person (§5.4), or about their absence (§11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityScope {
    /// It is an authentication.
    OpenId,
    /// The claims of a profile.
    Profile,
    /// The e-mail address.
    Email,
    /// The postal address.
    Address,
    /// The telephone number.
    Phone,
    /// Access while the person is away.
    OfflineAccess,
}

impl IdentityScope {
    /// All of them, in the order metadata lists them.
    pub const ALL: [Self; 6] = [
        Self::OpenId,
        Self::Profile,
        Self::Email,
        Self::Address,
        Self::Phone,
        Self::OfflineAccess,
    ];

    /// The scope token.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenId => "openid",
            Self::Profile => "profile",
            Self::Email => "email",
            Self::Address => "address",
            Self::Phone => "phone",
            Self::OfflineAccess => "offline_access",
        }
    }

    /// The scope of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }

    /// The scope that a claim about a person belongs to.
    #[must_use]
    pub fn of_claim(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|scope| scope.claims().contains(&name))
    }

    /// What it allows, for the person who is asked.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::OpenId => "Know that it is you, and recognise you next time",
            Self::Profile => "See your name and the rest of your profile",
            Self::Email => "See your e-mail address",
            Self::Address => "See your postal address",
            Self::Phone => "See your telephone number",
            Self::OfflineAccess => "Keep this access while you are away",
        }
    }

    /// The claims it stands for (§5.4).
    #[must_use]
    pub const fn claims(self) -> &'static [&'static str] {
        match self {
            Self::OpenId | Self::OfflineAccess => &[],
            Self::Profile => &[
                "name",
                "family_name",
                "given_name",
                "middle_name",
                "nickname",
                "preferred_username",
                "profile",
                "picture",
                "website",
                "gender",
                "birthdate",
                "zoneinfo",
                "locale",
                "updated_at",
            ],
            Self::Email => &["email", "email_verified"],
            Self::Address => &["address"],
            Self::Phone => &["phone_number", "phone_number_verified"],
        }
    }
}

/// The words of `prompt` (§3.1.2.1), in the order metadata lists them.
pub const PROMPTS: [&str; 4] = ["none", "login", "consent", "select_account"];

/// What `prompt` asks for (§3.1.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Show nothing.
    pub none: bool,
    /// Have the person authenticate again.
    pub login: bool,
    /// Ask again what was allowed before.
    pub consent: bool,
    /// Have the person choose who they are.
    pub select_account: bool,
}

impl FromStr for Prompt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut prompt = Self::default();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            match word {
                "none" => prompt.none = true,
                "login" => prompt.login = true,
                "consent" => prompt.consent = true,
                "select_account" => prompt.select_account = true,
                _ => {
                    return Err(
                        "prompt holds a word that is not none, login, consent or select_account."
                            .into(),
                    );
                }
            }
        }
        let other = prompt.login || prompt.consent || prompt.select_account;
        if prompt.none && other {
            return Err("prompt=none cannot go with another value.".into());
        }
        Ok(prompt)
    }
}

/// How well a person has proved who they are: the authentication context class (§2).
///
/// | class | what it takes | `amr` (RFC 8176) |
/// |---|---|---|
/// | `urn:writ:acr:single-factor` | any way to sign in | any |
/// | `urn:writ:acr:multi-factor` | two factors, or a passkey that knows its person | holds `mfa` |
/// | `phr` | what cannot be phished: a passkey (OpenID Connect EAP ACR Values §2) | holds `hwk` or `swk` |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acr {
    /// Any.
    SingleFactor,
    /// Two factors.
    MultiFactor,
    /// Cannot be phished.
    PhishingResistant,
}

impl Acr {
    /// All of them, the weakest first.
    pub const ALL: [Self; 3] = [
        Self::SingleFactor,
        Self::MultiFactor,
        Self::PhishingResistant,
    ];

    /// The value in tokens.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SingleFactor => "urn:writ:acr:single-factor",
            Self::MultiFactor => "urn:writ:acr:multi-factor",
            Self::PhishingResistant => "phr",
        }
    }

    /// Whether a sign-in by these methods meets it.
    #[must_use]
    pub fn is_met(self, amr: &[String]) -> bool {
        let any_of = |names: &[&str]| amr.iter().any(|name| names.contains(&name.as_str()));
        match self {
            Self::SingleFactor => true,
            Self::MultiFactor => any_of(&["mfa"]),
            Self::PhishingResistant => any_of(&["hwk", "swk"]),
        }
    }

    /// The class to name: the first of those asked for that is met, or else the strongest.
    #[must_use]
    pub fn of(amr: &[String], asked: &[String]) -> Self {
        let met = || Self::ALL.into_iter().filter(|acr| acr.is_met(amr));
        let mut asked = asked.iter();
        asked
            .find_map(|name| met().find(|acr| acr.as_str() == name))
            .or_else(|| met().next_back())
            .unwrap_or(Self::SingleFactor)
    }
}

/// What one claim has to be (§5.5.1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Whether the client cannot do without.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub essential: bool,
    /// The value that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// The values of which one is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<Value>>,
}

impl Wanted {
    /// The texts that will do, the best first; none when any will.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let all = self.value.iter().chain(self.values.iter().flatten());
        all.filter_map(|value| value.as_str().map(str::to_owned))
            .collect()
    }
}

/// The claims that are asked for one by one (§5.5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimsRequest {
    /// From the userinfo endpoint.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub userinfo: BTreeMap<String, Option<Wanted>>,
    /// In the ID token.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub id_token: BTreeMap<String, Option<Wanted>>,
}

impl ClaimsRequest {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.userinfo.is_empty() && self.id_token.is_empty()
    }

    /// The scopes about a person that these claims belong to.
    pub fn scopes(&self) -> impl Iterator<Item = IdentityScope> {
        let names = self.userinfo.keys().chain(self.id_token.keys());
        names.filter_map(|name| IdentityScope::of_claim(name))
    }

    /// The claims about a person that belong to these scopes. What a token says of the sign-in is
    /// no such claim.
    #[must_use]
    pub fn within(&self, scopes: impl Fn(IdentityScope) -> bool) -> Self {
        let known = |name: &String| IdentityScope::of_claim(name).is_some_and(&scopes);
        let kept = |claims: &BTreeMap<String, Option<Wanted>>| {
            let kept = claims.keys().filter(|name| known(name));
            kept.map(|name| (name.clone(), None)).collect()
        };
        Self {
            userinfo: kept(&self.userinfo),
            id_token: kept(&self.id_token),
        }
    }
}

impl FromStr for ClaimsRequest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A list would pass for an object whose members are told by their order.
        let object = serde_json::from_str(text).map(Value::Object);
        object.and_then(serde_json::from_value).map_err(|_| {
            "claims must be a JSON object with the members userinfo and id_token (OpenID Connect \
             Core section 5.5)."
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_goes_alone() {
        assert!("none".parse::<Prompt>().unwrap().none);
        assert!("none login".parse::<Prompt>().is_err());
        assert!("login consent".parse::<Prompt>().unwrap().consent);
        assert!("soon".parse::<Prompt>().is_err());
    }

    #[test]
    fn a_sign_in_has_the_class_that_was_asked_for_or_the_strongest() {
        let of = |amr: &[&str], asked: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
            Acr::of(&owned(amr), &owned(asked)).as_str()
        };
        let [single, multi, resistant] = Acr::ALL.map(Acr::as_str);
        assert_eq!(of(&["pwd"], &[]), single);
        assert_eq!(of(&["pwd"], &[resistant, multi]), single);
        assert_eq!(of(&["pwd", "otp", "mfa"], &[resistant]), multi);
        assert_eq!(of(&["hwk", "user", "mfa"], &[]), resistant);
        assert_eq!(of(&["hwk", "user", "mfa"], &["other", multi]), multi);
    }

    #[test]
    fn claims_are_asked_for_by_name() {
        let text = r#"{"id_token":{"email":null,"sub":{"value":"1"}},"other":{}}"#;
        let claims: ClaimsRequest = text.parse().unwrap();
        assert_eq!(claims.id_token["email"], None);
        assert_eq!(claims.id_token["sub"].as_ref().unwrap().texts(), ["1"]);
        for bad in ["", "[]", r#"{"id_token":[]}"#, r#"{"id_token":{"a":1}}"#] {
            assert!(bad.parse::<ClaimsRequest>().is_err(), "{bad}");
        }
    }
}

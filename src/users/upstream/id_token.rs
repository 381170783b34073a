//! Whether an ID token holds (OpenID Connect Core §3.1.3.7).

use serde::Deserialize;
use serde_json::{Number, Value};
use writ_resource::jws::Unverified;

use super::{Departure, Failure, provider};
use crate::{
    app::{
        App,
        providers::{Provider, ProviderMetadata},
    },
    tokens::id_token::half_hash,
};

/// Seconds that the provider's clock may differ from ours.
const LEEWAY: i64 = 60;
/// Longest `sub` (OpenID Connect Core §2).
const LONGEST_SUB: usize = 255;

/// What a provider says of a person.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Claims {
    iss: Option<String>,
    /// Who it is there.
    pub sub: String,
    aud: Option<Value>,
    azp: Option<String>,
    exp: Option<Number>,
    iat: Option<Number>,
    nbf: Option<Number>,
    nonce: Option<String>,
    at_hash: Option<String>,
    /// When they signed in there.
    auth_time: Option<Number>,
    /// How (RFC 8176).
    amr: Option<Value>,
    /// Their address.
    pub email: Option<String>,
    email_verified: Option<Value>,
    /// What they are called there.
    pub preferred_username: Option<String>,
    /// Their name in full.
    pub name: Option<String>,
    /// Its parts.
    pub given_name: Option<String>,
    /// Its parts.
    pub family_name: Option<String>,
}

/// What is registered as a method of authentication (RFC 8176 §2).
const METHODS: [&str; 20] = [
    "face", "fpt", "geo", "hwk", "iris", "kba", "mca", "mfa", "otp", "pin", "pwd", "rba", "retina",
    "sc", "sms", "swk", "tel", "user", "vbm", "wia",
];

fn seconds(number: Option<&Number>) -> Option<i64> {
    let number = number?;
    // RFC 7519 §2, NumericDate: it may have a fraction.
    let whole = |seconds: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "what is out of range becomes the nearest, which no check lets through"
        )]
        let seconds = seconds as i64;
        seconds
    };
    number.as_i64().or_else(|| number.as_f64().map(whole))
}

impl Claims {
    /// When they signed in there, Unix seconds, if it is said. Before 1970 nobody has.
    #[must_use]
    pub fn auth_time(&self) -> Option<i64> {
        seconds(self.auth_time.as_ref()).map(|at| at.max(0))
    }

    /// How, as far as the names are registered.
    #[must_use]
    pub fn methods(&self) -> Vec<&'static str> {
        let said = self.amr.as_ref().and_then(Value::as_array);
        let said = said.map_or(&[][..], Vec::as_slice);
        let methods = METHODS.into_iter();
        methods
            .filter(|method| said.iter().any(|name| name == method))
            .collect()
    }

    /// Their address, if the provider has made sure of it. Some say it in quotes.
    #[must_use]
    pub fn verified_email(&self) -> Option<&str> {
        let verified = match &self.email_verified {
            Some(Value::Bool(verified)) => *verified,
            Some(Value::String(text)) => text == "true",
            _ => false,
        };
        self.email.as_deref().filter(|_| verified)
    }

    /// The same with what the userinfo endpoint says beside it, which is of the same person.
    #[must_use]
    pub(super) fn completed(self, more: Self) -> Self {
        let (email, email_verified) = match self.email {
            Some(email) => (Some(email), self.email_verified),
            None => (more.email, more.email_verified),
        };
        Self {
            email,
            email_verified,
            preferred_username: self.preferred_username.or(more.preferred_username),
            name: self.name.or(more.name),
            given_name: self.given_name.or(more.given_name),
            family_name: self.family_name.or(more.family_name),
            ..self
        }
    }

    /// Every check of §3.1.3.7 but the signature.
    fn check(&self, provider: &Provider, departure: &Departure, now: i64) -> Result<(), String> {
        let us = &provider.config.client_id;
        let expires = seconds(self.exp.as_ref()).ok_or("exp is missing")?;
        let issued = seconds(self.iat.as_ref()).ok_or("iat is missing")?;
        let not_before = seconds(self.nbf.as_ref()).unwrap_or(i64::MIN);
        let is_us = match &self.aud {
            Some(Value::String(one)) => one == us,
            // Point 3: of other audiences we trust none.
            Some(Value::Array(all)) => all.len() == 1 && all.iter().all(|one| one == us.as_str()),
            _ => false,
        };
        let wrong = |why: &str| Err(why.to_owned());
        match () {
            () if self.iss.as_ref() != Some(&provider.config.issuer) => wrong("iss is another"),
            () if !is_us => wrong("aud is not this client alone"),
            () if self.azp.as_ref().is_some_and(|azp| azp != us) => wrong("azp is another"),
            () if expires <= now - LEEWAY => wrong("it has expired"),
            () if issued > now + LEEWAY || not_before > now + LEEWAY => {
                wrong("it is of the future")
            }
            // Point 10: made for this very request.
            () if issued < departure.at - LEEWAY => wrong("it is older than the request"),
            () if self.nonce.as_ref() != Some(&departure.nonce) => wrong("nonce is another"),
            () if self.sub.is_empty() || self.sub.len() > LONGEST_SUB => wrong("sub is no name"),
            () if departure.is_anew() => match self.auth_time() {
                None => wrong("auth_time is missing, and was asked for"),
                Some(at) if at < departure.at - LEEWAY => {
                    wrong("auth_time is from before the request")
                }
                Some(_) => Ok(()),
            },
            () => Ok(()),
        }
    }
}

/// The claims of an ID token that holds.
///
/// # Errors
/// [`Failure`] that says what does not.
pub(super) async fn verified(
    app: &App,
    provider: &Provider,
    metadata: &ProviderMetadata,
    departure: &Departure,
    (token, access_token): (&str, Option<&str>),
) -> Result<Claims, Failure> {
    let wrong = |why: &dyn std::fmt::Display| Failure::wrong(format!("the ID token: {why}"));
    let unverified = Unverified::parse(token).map_err(|why| wrong(&why))?;
    if unverified.typ().is_some() && !unverified.is_typ("JWT") {
        // RFC 8725 §3.11: another kind of token.
        return Err(wrong(&"typ is not JWT"));
    }
    let (kid, algorithm) = (unverified.kid().map(str::to_owned), unverified.alg());
    let keys = provider::keys(app, provider, metadata, kid.as_deref(), algorithm).await?;
    let key = keys.find(kid.as_deref(), algorithm);
    let key = key.ok_or_else(|| wrong(&"it is signed with a key that nobody knows"))?;
    let verified = unverified.verify(key).map_err(|why| wrong(&why))?;
    let claims: Claims = verified.claims().map_err(|why| wrong(&why))?;
    claims
        .check(provider, departure, app.clock.seconds())
        .map_err(|why| wrong(&why))?;
    if let Some(hash) = &claims.at_hash
        && access_token
            .map(|token| half_hash(algorithm.as_str(), token))
            .as_ref()
            != Some(hash)
    {
        // §3.1.3.8
        return Err(wrong(&"at_hash is of another access token"));
    }
    Ok(claims)
}

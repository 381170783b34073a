//! An authenticator in software, and the browser around it (WebAuthn level 2 §5, §6), which do as
//! they are told, even wrongly.

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use ed25519_dalek::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};

use super::b64;

enum Private {
    Es256(SigningKey),
    EdDsa(ed25519_dalek::SigningKey),
    Rs256(Box<RsaKeyPair>),
}

/// An authenticator with one passkey, and what it says of itself.
pub(crate) struct Authenticator {
    key: Private,
    pub(crate) id: Vec<u8>,
    pub(crate) user_handle: String,
    pub(crate) rp_id: String,
    pub(crate) origin: String,
    /// UP and UV.
    pub(crate) flags: u8,
    pub(crate) counter: u32,
    pub(crate) cross_origin: bool,
    pub(crate) challenge: Option<String>,
    pub(crate) r#type: Option<&'static str>,
    /// `attStmt` and its format, CBOR.
    pub(crate) statement: (&'static str, Vec<u8>),
    /// What follows the authenticator data.
    pub(crate) trailing: Vec<u8>,
}

/// `n` of a major type.
fn head(major: u8, n: usize) -> Vec<u8> {
    let major = major << 5;
    match n {
        0..=23 => vec![major | u8::try_from(n).unwrap()],
        24..=255 => vec![major | 24, u8::try_from(n).unwrap()],
        _ => [
            vec![major | 25],
            u16::try_from(n).unwrap().to_be_bytes().to_vec(),
        ]
        .concat(),
    }
}

fn number(n: i64) -> Vec<u8> {
    match usize::try_from(n) {
        Ok(n) => head(0, n),
        Err(_) => head(1, usize::try_from(-1 - n).unwrap()),
    }
}

pub(crate) fn bytes(bytes: &[u8]) -> Vec<u8> {
    [head(2, bytes.len()), bytes.to_vec()].concat()
}

fn text(text: &str) -> Vec<u8> {
    [head(3, text.len()), text.as_bytes().to_vec()].concat()
}

pub(crate) fn map(members: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut all = head(5, members.len());
    for (key, value) in members {
        all.extend_from_slice(key);
        all.extend_from_slice(value);
    }
    all
}

impl Authenticator {
    fn with(key: Private) -> Self {
        Self {
            key,
            id: b"credential-0123456789".to_vec(),
            user_handle: String::new(),
            rp_id: "as.example".into(),
            origin: "https://as.example".into(),
            flags: 0b101,
            counter: 0,
            cross_origin: false,
            challenge: None,
            r#type: None,
            statement: ("none", map(&[])),
            trailing: Vec::new(),
        }
    }

    pub(crate) fn es256() -> Self {
        Self::with(Private::Es256(SigningKey::from_slice(&[7; 32]).unwrap()))
    }

    pub(crate) fn ed_dsa() -> Self {
        Self::with(Private::EdDsa(ed25519_dalek::SigningKey::from_bytes(
            &[7; 32],
        )))
    }

    pub(crate) fn rs256() -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        Self::with(Private::Rs256(Box::new(pair)))
    }

    /// The `COSE_Key` (RFC 9053 §7, RFC 8230 §4).
    pub(crate) fn cose_key(&self) -> Vec<u8> {
        let member = |key, value: Vec<u8>| (number(key), value);
        match &self.key {
            Private::Es256(key) => {
                let point = key.verifying_key().to_sec1_point(false);
                let (x, y) = (&point.as_bytes()[1..33], &point.as_bytes()[33..]);
                map(&[
                    member(1, number(2)),
                    member(3, number(-7)),
                    member(-1, number(1)),
                    member(-2, bytes(x)),
                    member(-3, bytes(y)),
                ])
            }
            Private::EdDsa(key) => map(&[
                member(1, number(1)),
                member(3, number(-8)),
                member(-1, number(6)),
                member(-2, bytes(key.verifying_key().as_bytes())),
            ]),
            Private::Rs256(pair) => {
                let public = pair.public_key();
                map(&[
                    member(1, number(3)),
                    member(3, number(-257)),
                    member(
                        -1,
                        bytes(public.modulus().big_endian_without_leading_zero()),
                    ),
                    member(
                        -2,
                        bytes(public.exponent().big_endian_without_leading_zero()),
                    ),
                ])
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.key {
            Private::Es256(key) => {
                let signature: Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
            Private::EdDsa(key) => key.sign(message).to_bytes().to_vec(),
            Private::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                )
                .unwrap();
                signature
            }
        }
    }

    fn data(&self, attested: bool) -> Vec<u8> {
        let mut data = digest(&SHA256, self.rp_id.as_bytes()).as_ref().to_vec();
        data.push(self.flags | if attested { 0x40 } else { 0 });
        data.extend(self.counter.to_be_bytes());
        if attested {
            data.extend([0; 16]);
            data.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
            data.extend(&self.id);
            data.extend(self.cose_key());
        }
        data.extend(&self.trailing);
        data
    }

    fn client_data(&self, what: &str, options: &Value) -> Vec<u8> {
        let challenge = options["challenge"].as_str().unwrap();
        let said = json!({
            "type": self.r#type.unwrap_or(what),
            "challenge": self.challenge.as_deref().unwrap_or(challenge),
            "origin": self.origin,
            "crossOrigin": self.cross_origin,
            "other_keys_can_be_added_here": "do not compare clientDataJSON against a template",
        });
        said.to_string().into_bytes()
    }

    /// Answers `navigator.credentials.create()`.
    pub(crate) fn create(&mut self, options: &Value) -> String {
        let handle = options["user"]["id"].as_str().unwrap();
        self.user_handle = handle.to_owned();
        let (format, statement) = &self.statement;
        let object = map(&[
            (text("fmt"), text(format)),
            (text("attStmt"), statement.clone()),
            (text("authData"), bytes(&self.data(true))),
        ]);
        let response = json!({
            "clientDataJSON": b64(self.client_data("webauthn.create", options)),
            "attestationObject": b64(object),
            "transports": ["internal"],
        });
        self.answer(&response)
    }

    /// Answers `navigator.credentials.get()`.
    pub(crate) fn get(&self, options: &Value) -> String {
        let (data, client_data) = (self.data(false), self.client_data("webauthn.get", options));
        let mut message = data.clone();
        message.extend(digest(&SHA256, &client_data).as_ref());
        let response = json!({
            "clientDataJSON": b64(client_data),
            "authenticatorData": b64(data),
            "signature": b64(self.sign(&message)),
            "userHandle": self.user_handle,
        });
        self.answer(&response)
    }

    fn answer(&self, response: &Value) -> String {
        let id = b64(&self.id);
        json!({ "id": id, "rawId": id, "type": "public-key", "response": response }).to_string()
    }
}

//! A client's private key in a file: PKCS#8, PEM (RFC 7468 §10).

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::Failure;
use crate::keys::{SigningAlgorithm, jws::Signer};

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// A PKCS#8 key as PEM.
pub(super) fn pem(pkcs8: &[u8]) -> Zeroizing<String> {
    let text = Zeroizing::new(STANDARD.encode(pkcs8));
    // Lines of 64 characters, of which base64 has none that is not ASCII.
    let mut pem = Zeroizing::new(String::with_capacity(text.len() + text.len() / 64 + 60));
    pem.push_str(BEGIN);
    for (at, character) in text.chars().enumerate() {
        if at % 64 == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push('\n');
    pem.push_str(END);
    pem.push('\n');
    pem
}

/// Reads a private key; its algorithm follows from what it is.
///
/// # Errors
/// Names the file and what it should hold.
pub(super) fn read(path: &Path) -> Result<Signer, Failure> {
    let text =
        Zeroizing::new(std::fs::read_to_string(path).map_err(|why| Failure::from(why).at(path))?);
    parse(&text).ok_or_else(|| {
        Failure::new(
            "not a private key in PKCS#8 PEM ('BEGIN PRIVATE KEY') for EdDSA, ES256 or RS256; \
             `writ client key generate` makes one, `openssl pkcs8 -topk8 -nocrypt` converts others",
        )
        .at(path)
    })
}

fn parse(text: &str) -> Option<Signer> {
    let (_, rest) = text.split_once(BEGIN)?;
    let (body, _) = rest.split_once(END)?;
    let body: Zeroizing<String> =
        Zeroizing::new(body.chars().filter(|c| !c.is_whitespace()).collect());
    let der = Zeroizing::new(STANDARD.decode(body.as_bytes()).ok()?);
    SigningAlgorithm::ALL
        .into_iter()
        .find_map(|algorithm| Signer::new(algorithm, &der).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{entropy::Entropy, keys::generate};

    #[test]
    fn every_kind_of_key_is_read_back() {
        for algorithm in SigningAlgorithm::ALL {
            let der = generate::pkcs8(algorithm, &Entropy::seeded(3)).unwrap();
            let pem = pem(&der);
            assert!(pem.lines().all(|line| line.len() <= 64));
            let signer = parse(&pem).unwrap();
            assert_eq!(signer.jwk()["alg"], algorithm.as_str());
            let windows = pem.replace('\n', "\r\n");
            assert_eq!(parse(&windows).unwrap().kid(), signer.kid());
        }
    }

    #[test]
    fn other_files_are_refused() {
        for text in [
            "",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----",
        ] {
            assert!(parse(text).is_none());
        }
    }
}

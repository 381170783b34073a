//! Recovery codes: a second factor on paper, for whoever has lost the other. Each holds once.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE32_NOPAD;

use crate::entropy::Entropy;

/// How many a person gets.
pub const COUNT: usize = 10;

/// A new code: 80 random bits, so that its digest can be kept without salt or work.
#[must_use]
pub fn new(entropy: &Entropy) -> String {
    let code = BASE32_NOPAD
        .encode(&entropy.bytes::<10>())
        .to_ascii_lowercase();
    let groups: Vec<&str> = (0..4).map(|at| &code[at * 4..at * 4 + 4]).collect();
    groups.join("-")
}

/// What is kept of a code, however it is typed.
#[must_use]
pub fn kept(typed: &str) -> Vec<u8> {
    let plain = typed.chars().filter(char::is_ascii_alphanumeric);
    let plain: String = plain.map(|c| c.to_ascii_lowercase()).collect();
    digest(&SHA256, plain.as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_known_however_it_is_typed() {
        let code = new(&Entropy::seeded(1));
        assert_eq!(code.len(), 19, "{code}");
        let typed = code.to_uppercase().replace('-', " ");
        assert_eq!(kept(&code), kept(&typed));
        assert_ne!(kept(&code), kept(&new(&Entropy::seeded(2))));
    }
}

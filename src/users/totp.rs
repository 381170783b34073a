//! Codes of an authenticator app, the second factor (RFC 6238, RFC 4226).

use aws_lc_rs::hmac;
use data_encoding::BASE32_NOPAD;

/// Seconds of a time step (RFC 6238 §5.2).
const STEP: i64 = 30;
/// Bytes of a key (RFC 4226 §4, R6).
pub const KEY: usize = 20;

/// The code of a time step, six digits: what every app makes unless told otherwise.
fn code(key: &[u8], step: i64) -> u32 {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    truncated(tag.as_ref()) % 1_000_000
}

/// RFC 4226 §5.3.
fn truncated(tag: &[u8]) -> u32 {
    let at = tag.last().map_or(0, |last| usize::from(last & 15));
    let four = tag.get(at..at + 4).and_then(|four| four.try_into().ok());
    u32::from_be_bytes(four.unwrap_or_default()) & 0x7fff_ffff
}

/// The time step whose code this is: the present one, the one before or the one after (RFC 6238
/// §5.2). It must be later than the last that was used: no code holds twice.
#[must_use]
pub fn step_of(key: &[u8], typed: &str, now: i64, last_used: i64) -> Option<i64> {
    let typed: String = typed.chars().filter(|c| !c.is_whitespace()).collect();
    if typed.len() != 6 || !typed.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let present = now.div_euclid(STEP);
    let steps = (present - 1..=present + 1).filter(|step| *step > last_used);
    let fits = |step: &i64| {
        let right = format!("{:06}", code(key, *step));
        subtle::ConstantTimeEq::ct_eq(right.as_bytes(), typed.as_bytes()).into()
    };
    // All of them, so that time does not tell which.
    steps.filter(fits).max()
}

/// A key as people type it.
#[must_use]
pub fn spelled(key: &[u8]) -> String {
    BASE32_NOPAD.encode(key)
}

/// What an authenticator app reads from a QR code.
#[must_use]
pub fn uri(key: &[u8], product: &str, username: &str) -> String {
    let encode = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let (product, username) = (encode(product), encode(username));
    let key = spelled(key);
    format!("otpauth://totp/{product}:{username}?secret={key}&issuer={product}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4226() {
        let key = b"12345678901234567890";
        let codes = [
            755_224, 287_082, 359_152, 969_429, 338_314, 254_676, 287_922, 162_583, 399_871,
            520_489,
        ];
        for (count, expected) in (0..).zip(codes) {
            assert_eq!(code(key, count), expected, "{count}");
        }
    }

    /// The last six of the eight digits in appendix B.
    #[test]
    fn the_vectors_of_rfc_6238() {
        let key = b"12345678901234567890";
        for (at, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(step_of(key, expected, at, 0), Some(at / 30), "{at}");
        }
    }

    #[test]
    fn a_code_holds_for_a_step_on_either_side_and_once() {
        let (key, now) = ([7; KEY], 1_800_000_000);
        let step = now / STEP;
        let typed = |step| format!("{:06}", code(&key, step));
        for near in [step - 1, step, step + 1] {
            assert_eq!(step_of(&key, &typed(near), now, 0), Some(near));
            assert_eq!(step_of(&key, &typed(near), now, near), None);
        }
        assert_eq!(step_of(&key, &typed(step - 2), now, 0), None);
        assert_eq!(step_of(&key, &typed(step + 2), now, 0), None);
        let spaced = format!("{} {} ", &typed(step)[..3], &typed(step)[3..]);
        assert_eq!(step_of(&key, &spaced, now, 0), Some(step));
        for wrong in ["", "000", "0000000", "abcdef", "+12345"] {
            assert_eq!(step_of(&key, wrong, now, 0), None);
        }
    }

    #[test]
    fn an_app_reads_the_key_from_the_uri() {
        assert_eq!(
            uri(b"12345678901234567890", "Writ & Co", "alice@example.com"),
            "otpauth://totp/Writ%20%26%20Co:alice%40example%2Ecom\
             ?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Writ%20%26%20Co"
        );
    }
}

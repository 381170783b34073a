//! What is taken as a passkey, and what it proves (WebAuthn level 2 §7.1, §7.2).

use serde_json::{Value, json};
use writ::users::webauthn::{
    Assertion, Kept, Known, Refused, Registered, RelyingParty, registered,
};

use crate::support::{Authenticator, b64};

const CHALLENGE: [u8; 32] = [42; 32];

fn rp() -> RelyingParty {
    RelyingParty {
        id: "as.example".into(),
        origin: "https://as.example".into(),
    }
}

fn creation() -> Value {
    json!({ "challenge": b64(CHALLENGE), "user": { "id": b64("alice") } })
}

fn request() -> Value {
    json!({ "challenge": b64(CHALLENGE) })
}

fn made(authenticator: &mut Authenticator) -> Result<Registered, Refused> {
    registered(&rp(), &CHALLENGE, &authenticator.create(&creation()))
}

fn proved(registered: &Registered, answer: &str) -> Result<u32, Refused> {
    let known = Known {
        key: &registered.key,
        counter: registered.counter.into(),
        backup_eligible: registered.kept.backup_eligible,
        user: "alice",
    };
    let assertion = Assertion::read(answer)?;
    assert_eq!(assertion.id, registered.id);
    let asserted = assertion.check(&rp(), &CHALLENGE, Some(known))?;
    Ok(asserted.counter)
}

#[test]
fn keys_of_every_algorithm_are_made_and_prove() {
    for mut authenticator in [
        Authenticator::es256(),
        Authenticator::ed_dsa(),
        Authenticator::rs256(),
    ] {
        let registered = made(&mut authenticator).unwrap();
        assert_eq!(registered.id, b64(&authenticator.id));
        assert_eq!(registered.key, authenticator.cose_key());
        let neither = Kept {
            backup_eligible: false,
            backed_up: false,
        };
        assert_eq!(registered.kept, neither);
        assert_eq!(proved(&registered, &authenticator.get(&request())), Ok(0));
        authenticator.counter = 7;
        assert_eq!(proved(&registered, &authenticator.get(&request())), Ok(7));
    }
}

#[test]
fn attestation_of_any_kind_is_left_aside_and_extensions_are_read_over() {
    let mut authenticator = Authenticator::es256();
    // { "alg": -7, "sig": h'00', "x5c": [h'01'] } and { "credProtect": 2 }.
    authenticator.statement = (
        "packed",
        b"\xa3\x63alg\x26\x63sig\x41\x00\x63x5c\x81\x41\x01".to_vec(),
    );
    authenticator.flags |= 0x80;
    authenticator.trailing = b"\xa1\x6bcredProtect\x02".to_vec();
    let registered = made(&mut authenticator).unwrap();
    assert_eq!(registered.key, authenticator.cose_key());
    assert!(proved(&registered, &authenticator.get(&request())).is_ok());
    // Said to be there, and not; there, and not said to be.
    authenticator.trailing = Vec::new();
    assert!(made(&mut authenticator).is_err());
    authenticator.flags &= !0x80;
    authenticator.trailing = vec![0];
    assert!(made(&mut authenticator).is_err());
    assert!(proved(&registered, &authenticator.get(&request())).is_err());
}

#[test]
fn what_is_copied_between_devices_says_so_and_stays_so() {
    let mut authenticator = Authenticator::es256();
    authenticator.flags |= 0b0000_1000;
    let registered = made(&mut authenticator).unwrap();
    assert!(registered.kept.backup_eligible && !registered.kept.backed_up);
    authenticator.flags |= 0b0001_0000;
    assert!(proved(&registered, &authenticator.get(&request())).is_ok());
    authenticator.flags &= !0b0001_1000;
    assert!(proved(&registered, &authenticator.get(&request())).is_err());
    authenticator.flags |= 0b0001_0000;
    assert!(made(&mut authenticator).is_err());
}

/// What somebody does to an authenticator.
type Change = fn(&mut Authenticator);

/// Each change alone makes both ceremonies fail.
#[test]
fn what_was_made_for_another_question_or_place_is_refused() {
    let mut honest = Authenticator::es256();
    let registered = made(&mut honest).unwrap();
    let changes: [(&str, Change); 12] = [
        ("another type", |a| a.r#type = Some("payment.get")),
        ("another challenge", |a| a.challenge = Some(b64([43; 32]))),
        ("a shorter challenge", |a| a.challenge = Some(b64([42; 31]))),
        ("no challenge", |a| a.challenge = Some(String::new())),
        ("another origin", |a| {
            a.origin = "https://evil.example".into();
        }),
        ("another scheme", |a| a.origin = "http://as.example".into()),
        ("another port", |a| {
            a.origin = "https://as.example:8443".into();
        }),
        ("a subdomain", |a| a.origin = "https://x.as.example".into()),
        ("a frame", |a| a.cross_origin = true),
        ("another site", |a| a.rp_id = "example".into()),
        ("nobody there", |a| a.flags = 0b100),
        ("nobody verified", |a| a.flags = 0b001),
    ];
    for (what, change) in changes {
        let mut authenticator = Authenticator::es256();
        authenticator.user_handle.clone_from(&honest.user_handle);
        change(&mut authenticator);
        let answer = authenticator.get(&request());
        assert!(proved(&registered, &answer).is_err(), "{what}");
        assert!(made(&mut authenticator).is_err(), "{what}");
    }
    // The types of the two ceremonies are not each other's.
    let mut swapped = Authenticator::es256();
    swapped.user_handle.clone_from(&honest.user_handle);
    swapped.r#type = Some("webauthn.create");
    assert!(proved(&registered, &swapped.get(&request())).is_err());
    swapped.r#type = Some("webauthn.get");
    assert!(made(&mut swapped).is_err());
    assert!(proved(&registered, &honest.get(&request())).is_ok());
}

#[test]
fn a_signature_is_over_every_byte_and_by_the_key_that_was_made() {
    for mut authenticator in [
        Authenticator::es256(),
        Authenticator::ed_dsa(),
        Authenticator::rs256(),
    ] {
        let registered = made(&mut authenticator).unwrap();
        let answer: Value = serde_json::from_str(&authenticator.get(&request())).unwrap();
        for part in ["signature", "authenticatorData"] {
            let text = answer["response"][part].as_str().unwrap();
            let last = text.len() - 2;
            for at in [0, text.len() / 2, last] {
                let other = if &text[at..=at] == "A" { "B" } else { "A" };
                let mut forged = answer.clone();
                forged["response"][part] = [&text[..at], other, &text[at + 1..]].concat().into();
                assert!(
                    proved(&registered, &forged.to_string()).is_err(),
                    "{part} {at}"
                );
            }
            for text in ["", "*", &text[..text.len() - 4]] {
                let mut forged = answer.clone();
                forged["response"][part] = text.into();
                assert!(
                    proved(&registered, &forged.to_string()).is_err(),
                    "{part} {text}"
                );
            }
        }
        let mut forged = answer.clone();
        let said = authenticator.get(&json!({ "challenge": b64([1; 32]) }));
        let said: Value = serde_json::from_str(&said).unwrap();
        forged["response"]["clientDataJSON"] = said["response"]["clientDataJSON"].clone();
        assert!(proved(&registered, &forged.to_string()).is_err());
    }
    let registered = made(&mut Authenticator::es256()).unwrap();
    let mut other = Authenticator::ed_dsa();
    other.create(&creation());
    assert!(proved(&registered, &other.get(&request())).is_err());
}

#[test]
fn a_passkey_is_its_persons_and_its_counter_rises() {
    let mut authenticator = Authenticator::es256();
    authenticator.counter = 5;
    let registered = made(&mut authenticator).unwrap();
    for (counter, holds) in [
        (0, false),
        (4, false),
        (5, false),
        (6, true),
        (u32::MAX, true),
    ] {
        authenticator.counter = counter;
        let answer = authenticator.get(&request());
        assert_eq!(proved(&registered, &answer).is_ok(), holds, "{counter}");
    }
    authenticator.user_handle = b64("bob");
    assert!(proved(&registered, &authenticator.get(&request())).is_err());
    let answer = Assertion::read(&authenticator.get(&request())).unwrap();
    assert!(answer.check(&rp(), &CHALLENGE, None).is_err());
}

/// A registration by hand, with this `COSE_Key`.
fn made_with(key: &[u8]) -> Result<Registered, Refused> {
    let mut data = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"as.example")
        .as_ref()
        .to_vec();
    data.push(0x45);
    data.extend([0; 4 + 16]);
    data.extend([0, 1, 7]);
    data.extend(key);
    let length = u8::try_from(data.len()).unwrap();
    let object = [
        b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".as_slice(),
        &[length],
        &data,
    ];
    let answer = Authenticator::es256().create(&creation());
    let mut answer: Value = serde_json::from_str(&answer).unwrap();
    answer["rawId"] = b64([7]).into();
    answer["response"]["attestationObject"] = b64(object.concat()).into();
    registered(&rp(), &CHALLENGE, &answer.to_string())
}

#[test]
fn keys_that_nobody_should_use_are_not_taken() {
    let honest = Authenticator::es256().cose_key();
    let place = |part: &[u8]| honest.windows(part.len()).position(|w| w == part).unwrap();
    let swap = |from: &[u8], to: &[u8]| {
        let at = place(from);
        [&honest[..at], to, &honest[at + from.len()..]].concat()
    };
    let mut off_the_curve = honest.clone();
    off_the_curve[place(&[0x21, 0x58, 0x20]) + 3] ^= 1;
    // The same by the same hand is taken as it is.
    assert_eq!(made_with(&honest).unwrap().key, honest);
    for (what, key) in [
        ("ES384", swap(&[0x03, 0x26], &[0x03, 0x38, 0x22])),
        ("another curve", swap(&[0x20, 0x01], &[0x20, 0x02])),
        ("no point of the curve", off_the_curve),
        (
            "an RSA key that is none",
            swap(&[0x01, 0x02], &[0x01, 0x03]),
        ),
        (
            "an octet key that is none",
            swap(&[0x01, 0x02], &[0x01, 0x01]),
        ),
        ("nothing", vec![0xa0]),
    ] {
        assert!(made_with(&key).is_err(), "{what}");
    }
}

#[test]
fn junk_is_refused_and_nothing_else() {
    for json in ["", "{}", "[]", "null", "{\"rawId\":\"x\"}"] {
        assert!(registered(&rp(), &CHALLENGE, json).is_err());
        assert!(Assertion::read(json).is_err());
    }
    let answer: Value = serde_json::from_str(&Authenticator::es256().create(&creation())).unwrap();
    let text = answer["response"]["attestationObject"].as_str().unwrap();
    for length in 0..text.len() {
        let mut cut = answer.clone();
        cut["response"]["attestationObject"] = text[..length].into();
        assert!(
            registered(&rp(), &CHALLENGE, &cut.to_string()).is_err(),
            "{length}"
        );
    }
    let mut other = answer.clone();
    other["rawId"] = b64("another").into();
    assert!(registered(&rp(), &CHALLENGE, &other.to_string()).is_err());
    other = answer;
    other["type"] = "password".into();
    assert!(registered(&rp(), &CHALLENGE, &other.to_string()).is_err());
}

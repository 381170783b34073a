//! What a receiver's answer means.

use serde::Deserialize;

use crate::fetch::{FetchError, Pushed};

/// What to do about a SET that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was taken.
    Taken,
    /// It will never be: this one is given up, and the rest goes on.
    Refused,
    /// The receiver may know the key later.
    UnknownKey,
    /// Later, perhaps.
    Later(Option<u64>),
}

#[derive(Deserialize)]
struct Refusal {
    err: String,
}

/// Reads an answer (RFC 8935 §2.3, §2.4). What is not said in the words of that clause is taken
/// for a fault that somebody will mend, and nothing is lost over it.
pub(super) fn of(answer: &Result<Pushed, FetchError>) -> Verdict {
    let Ok(answer) = answer else {
        return Verdict::Later(None);
    };
    match answer.status {
        200..=299 => Verdict::Taken,
        400 => {
            let refusal = serde_json::from_slice::<Refusal>(&answer.body);
            match refusal.as_ref().map(|refusal| refusal.err.as_str()) {
                Ok("invalid_request" | "invalid_issuer" | "invalid_audience" | "invalid_state") => {
                    Verdict::Refused
                }
                Ok("invalid_key") => Verdict::UnknownKey,
                _ => Verdict::Later(None),
            }
        }
        _ => Verdict::Later(answer.retry_after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_clause_names_gives_up_a_set() {
        let answer = |status, body: &str| {
            of(&Ok(Pushed {
                status,
                retry_after: Some(7),
                body: body.into(),
            }))
        };
        for taken in [200, 202, 204] {
            assert_eq!(answer(taken, ""), Verdict::Taken);
        }
        for err in [
            "invalid_request",
            "invalid_issuer",
            "invalid_audience",
            "invalid_state",
        ] {
            let body = format!(r#"{{"err":"{err}","description":"x"}}"#);
            assert_eq!(answer(400, &body), Verdict::Refused, "{err}");
        }
        assert_eq!(answer(400, r#"{"err":"invalid_key"}"#), Verdict::UnknownKey);
        for garbage in [
            "",
            "<html>",
            "[]",
            r#"{"err":"authentication_failed"}"#,
            r#"{"err":7}"#,
        ] {
            assert_eq!(answer(400, garbage), Verdict::Later(None), "{garbage}");
        }
        for later in [301, 401, 403, 404, 408, 410, 425, 429, 500, 503] {
            assert_eq!(answer(later, ""), Verdict::Later(Some(7)), "{later}");
        }
        assert_eq!(of(&Err(FetchError::Answer)), Verdict::Later(None));
    }
}

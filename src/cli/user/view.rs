//! Users and what is theirs, as people read it.

use serde_json::Value;

use crate::cli::print::{self, moment, text};

/// A table of users.
pub(super) fn list(users: &[Value], json: bool) {
    if json {
        print::json(&users);
        return;
    }
    let rows: Vec<Vec<String>> = users
        .iter()
        .map(|user| {
            let disabled = user["disabled"].as_bool().unwrap_or_default();
            vec![
                text(user, "username"),
                text(user, "email"),
                text(user, "id"),
                if disabled { "disabled" } else { "" }.to_owned(),
            ]
        })
        .collect();
    print::table(&["username", "email", "id", "state"], &rows);
}

/// One user, and what they sign in with.
pub(super) fn show(user: &Value, what: &str, json: bool) {
    if json {
        print::json(user);
        return;
    }
    let name = text(user, "username");
    print::line(&format!("{what} {}", print::tame(&name)));
    let verified = user["email_verified"].as_bool().unwrap_or_default();
    let email = match (text(user, "email"), verified) {
        (email, _) if email.is_empty() => "none".to_owned(),
        (email, true) => email,
        (email, false) => format!("{email} (not verified)"),
    };
    let credentials = &user["credentials"];
    let mut signs_in = Vec::new();
    for (member, words) in [
        ("password", "password"),
        ("authenticator", "authenticator app"),
    ] {
        if credentials[member].as_bool().unwrap_or_default() {
            signs_in.push(words.to_owned());
        }
    }
    for (member, words) in [
        ("passkeys", "passkeys"),
        ("identities", "identities elsewhere"),
        ("recovery_codes", "recovery codes"),
    ] {
        let count = credentials[member].as_u64().unwrap_or_default();
        if count > 0 {
            signs_in.push(format!("{count} {words}"));
        }
    }
    if signs_in.is_empty() {
        signs_in.push("nothing yet: writ user set-password".to_owned());
    }
    let disabled = user["disabled"].as_bool().unwrap_or_default();
    for (name, value) in [
        ("id", text(user, "id")),
        ("email", email),
        ("signs in with", signs_in.join(", ")),
        ("disabled", if disabled { "yes" } else { "no" }.to_owned()),
    ] {
        print::line(&format!("  {name:<14} {}", print::tame(&value)));
    }
}

/// A table of the browsers in which somebody is signed in, or was until just now.
pub(super) fn sessions(sessions: &[Value], ended: bool, json: bool) {
    if ended && !json {
        print::line(&format!("ended {} sessions:", sessions.len()));
    }
    if json {
        print::json(&sessions);
        return;
    }
    let row = |session: &Value| {
        let methods = session["amr"].as_array().into_iter().flatten();
        let methods: Vec<&str> = methods.filter_map(Value::as_str).collect();
        vec![
            text(session, "sid"),
            at(session, "authenticated_at"),
            at(session, "last_used_at"),
            methods.join(" "),
            text(session, "address"),
            text(session, "user_agent"),
        ]
    };
    let rows: Vec<_> = sessions.iter().map(row).collect();
    print::table(
        &["id", "signed in", "last used", "by", "from", "browser"],
        &rows,
    );
}

/// A table of passkeys and identities.
pub(super) fn credentials(credentials: &[Value], json: bool) {
    if json {
        print::json(&credentials);
        return;
    }
    let row = |credential: &Value| {
        vec![
            text(credential, "id"),
            text(credential, "kind"),
            text(credential, "name"),
            text(credential, "issuer"),
            at(credential, "created_at"),
            at(credential, "last_used_at"),
        ]
    };
    let rows: Vec<_> = credentials.iter().map(row).collect();
    print::table(
        &["id", "kind", "name", "issuer", "since", "last used"],
        &rows,
    );
}

/// A moment that an answer names, if there was one.
fn at(answer: &Value, member: &str) -> String {
    answer[member].as_i64().map(moment).unwrap_or_default()
}

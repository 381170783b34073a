//! The names of event types (CAEP 1.0 §3, RISC 1.0 §2, SSF 1.0 §8.1.4, §8.1.5).

macro_rules! types {
    ($($(#[$says:meta])* $name:ident = $base:literal / $last:literal;)+) => {
        $($(#[$says])* pub(super) const $name: &str =
            concat!("https://schemas.openid.net/secevent/", $base, "/event-type/", $last);)+
    };
}

types! {
    SESSION_REVOKED = "caep" / "session-revoked";
    TOKEN_CLAIMS_CHANGE = "caep" / "token-claims-change";
    CREDENTIAL_CHANGE = "caep" / "credential-change";
    ASSURANCE_LEVEL_CHANGE = "caep" / "assurance-level-change";
    DEVICE_COMPLIANCE_CHANGE = "caep" / "device-compliance-change";
    RISK_LEVEL_CHANGE = "caep" / "risk-level-change";
    ACCOUNT_DISABLED = "risc" / "account-disabled";
    ACCOUNT_ENABLED = "risc" / "account-enabled";
    ACCOUNT_PURGED = "risc" / "account-purged";
    CREDENTIAL_COMPROMISE = "risc" / "credential-compromise";
    VERIFICATION = "ssf" / "verification";
    STREAM_UPDATED = "ssf" / "stream-updated";
}

/// What a stream is asked to deliver; the last two are never asked for, and
/// always delivered.
pub(super) const REQUESTED: [&str; 10] = [
    SESSION_REVOKED,
    TOKEN_CLAIMS_CHANGE,
    CREDENTIAL_CHANGE,
    ASSURANCE_LEVEL_CHANGE,
    DEVICE_COMPLIANCE_CHANGE,
    RISK_LEVEL_CHANGE,
    ACCOUNT_DISABLED,
    ACCOUNT_ENABLED,
    ACCOUNT_PURGED,
    CREDENTIAL_COMPROMISE,
];

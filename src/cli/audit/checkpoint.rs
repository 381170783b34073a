//! `writ audit checkpoint`, and the trail held against one that was kept.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use serde_json::{Value, json};
use writ_resource::jws::{KeySet, Unverified, VerifyingKey};

use super::super::{
    Failure,
    api::{Api, Connection, Page, query, write_new},
    print,
};
use crate::trail::checkpoint::{Checkpoint, End, TYP};

/// The trail as it is now, signed.
#[derive(Debug, Args)]
pub(super) struct Sign {
    /// A new file for it; standard output without it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Sign {
    pub(super) async fn run(
        self,
        connection: &Connection,
        json: bool,
    ) -> Result<ExitCode, Failure> {
        let api = Api::connect(connection).await?;
        let signed: Value = api.get("/audit/checkpoint").await?;
        let token = print::text(&signed, "checkpoint");
        match &self.out {
            Some(file) => {
                write_new(file, format!("{token}\n").as_bytes())?;
                print::note(&format!(
                    "keep {} where nobody who runs this server can change it",
                    file.display()
                ));
            }
            None if json => print::json(&signed),
            None => print::line(&token),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What holding the trail against a checkpoint has found.
pub(super) struct Compared {
    /// When it was signed, and by which key.
    pub said: Value,
    /// What is not as it was.
    pub problems: Vec<Value>,
}

/// Holds the trail against a checkpoint that was kept.
///
/// # Errors
/// When the file holds no checkpoint of this issuer.
pub(super) async fn compare(api: &Api, file: &Path) -> Result<Compared, Failure> {
    let text = std::fs::read_to_string(file).map_err(|why| Failure::from(why).at(file))?;
    let refuse = |why: &str| Failure::new(format!("{}: {why}", file.display()));
    let token = text.trim();
    let unverified = Unverified::parse(token).map_err(|_| refuse("not a signed checkpoint"))?;
    let kid = unverified.kid().unwrap_or_default().to_owned();
    if !unverified.is_typ(TYP) {
        return Err(refuse("signed, but not a checkpoint"));
    }
    let mut problems = Vec::new();
    let published = published(api).await?;
    let in_jwks = published.keys().iter().find(|key| key.kid() == Some(&kid));
    let enclosed = unverified
        .jwk()
        .and_then(|jwk| VerifyingKey::from_jwk(jwk).ok());
    let key = match (in_jwks, &enclosed) {
        (Some(key), _) => key,
        (None, Some(key)) if key.thumbprint() == kid => key,
        _ => return Err(refuse("signed by a key that is not known here")),
    };
    let verified = unverified
        .verify(key)
        .map_err(|_| refuse("the signature does not hold"))?;
    let checkpoint: Checkpoint = verified.claims().map_err(|_| refuse("not a checkpoint"))?;
    if checkpoint.iss != api.issuer() {
        return Err(refuse(&format!(
            "of {}, not of {}",
            checkpoint.iss,
            api.issuer()
        )));
    }
    if in_jwks.is_none() && !trail_names(api, &kid, &checkpoint).await? {
        let problem = "its key has left the JWKS, and the trail names no such key in front of it";
        problems.push(json!({ "problem": format!("the checkpoint: {problem}") }));
    }
    for end in &checkpoint.chains {
        if let Err(problem) = holds(api, end).await? {
            problems.push(json!({ "node": end.node, "after": end.seq - 1, "problem": problem }));
        }
    }
    let said = json!({
        "signed_at": checkpoint.iat,
        "kid": kid,
        "key": if in_jwks.is_some() { "in the JWKS" } else { "named by the trail" },
        "chains": checkpoint.chains,
    });
    Ok(Compared { said, problems })
}

async fn published(api: &Api) -> Result<KeySet, Failure> {
    let url = format!("{}/jwks.json", api.issuer());
    let answer = api
        .http()
        .get(&url)
        .await
        .map_err(|why| Failure::new(format!("{url}: {why}")))?;
    KeySet::from_jwks(&answer.body).map_err(|why| Failure::new(format!("{url}: {why}")))
}

/// Whether an event that the checkpoint vouches for says that this was a key of the issuer's.
async fn trail_names(api: &Api, kid: &str, checkpoint: &Checkpoint) -> Result<bool, Failure> {
    let vouched = |event: &Value| {
        let (node, seq) = (event["node"].as_str(), event["seq"].as_i64());
        let ends = checkpoint.chains.iter();
        ends.into_iter()
            .any(|end| node == Some(&end.node) && seq.is_some_and(|seq| seq <= end.seq))
    };
    let names = |event: &Value| {
        let kids = event["event"]["object"].as_str().unwrap_or_default();
        kids.split(' ').any(|one| one == kid)
    };
    let mut path = format!("/audit{}", query(&[("kind", Some("keys.rotated".into()))]));
    loop {
        let page: Page<Vec<Value>> = api.page(&path).await?;
        if page
            .content
            .iter()
            .any(|event| names(event) && vouched(event))
        {
            return Ok(true);
        }
        if !page.more {
            return Ok(false);
        }
        path = page.path;
    }
}

/// Whether the row at the end of a chain as it was is still there, and the same.
async fn holds(api: &Api, end: &End) -> Result<Result<(), String>, Failure> {
    if end.seq == 0 {
        return Ok(Ok(()));
    }
    let after = (end.seq - 1).to_string();
    let path = query(&[
        ("node", Some(end.node.clone())),
        ("after", Some(after)),
        ("limit", Some("1".into())),
    ]);
    let found: Vec<Value> = api.get(&format!("/audit{path}")).await?;
    let found = found.first();
    let seq = found.and_then(|row| row["seq"].as_i64());
    Ok(match (seq, found) {
        (Some(seq), Some(row)) if seq == end.seq => {
            if row["hash"] == end.hash.as_str() {
                Ok(())
            } else {
                Err("the history was rewritten: this row is not the one of the checkpoint".into())
            }
        }
        (Some(seq), _) => Err(format!(
            "row {} of the checkpoint is gone: the chain begins at {seq}, nothing can be said of \
             what was before",
            end.seq
        )),
        _ => Err(format!(
            "row {} of the checkpoint is gone, and all behind it",
            end.seq
        )),
    })
}

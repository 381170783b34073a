//! `writ user`

mod view;

use std::{
    io::{BufRead as _, IsTerminal as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Failure,
    api::{self, Api, Connection},
    apply, document,
    print::{self, text},
    token::secret_from_stdin,
};
use crate::{
    admin::apply::{Action as Did, Line},
    users::declaration::UserDeclaration,
};

/// Users of one request of an import: a password takes the server some 20 ms.
const AT_ONCE: usize = 100;

/// People: how they are called and what they sign in with.
#[derive(Debug, Args)]
pub(super) struct User {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List users.
    List,
    /// Show a user; passwords are not kept and cannot be shown.
    Show {
        /// Their user name or id.
        user: String,
    },
    /// Make a user. The password is asked for, unless a flag says where it is.
    Add(Box<Add>),
    /// Remove a user; everything they granted ends.
    Remove {
        /// Their user name or id.
        user: String,
    },
    /// Keep a user from signing in, and end their sessions and everything they granted.
    Disable {
        /// Their user name or id.
        user: String,
    },
    /// Let a user sign in again; what they granted has ended.
    Enable {
        /// Their user name or id.
        user: String,
    },
    /// Give a user another password. Their sessions end, and what apps may do for them.
    SetPassword {
        /// Their user name or id.
        user: String,
        #[command(flatten)]
        password: Password,
        /// Leave apps what they may do while the user is away (`offline_access`).
        #[arg(long)]
        keep_apps: bool,
    },
    /// Take away a user's authenticator app and recovery codes, for somebody who has lost them.
    /// Their sessions stay.
    ResetFactor {
        /// Their user name or id.
        user: String,
    },
    /// List a user's passkeys and their identities at other providers, or take one away.
    Credentials {
        /// Their user name or id.
        user: String,
        /// Take this one away, also if it is the last.
        #[arg(long, value_name = "ID", allow_hyphen_values = true)]
        remove: Option<String>,
    },
    /// List the browsers in which a user is signed in, or end their sessions.
    Sessions {
        /// Their user name or id.
        user: String,
        /// End this session, and what was granted in it for no longer.
        #[arg(long, value_name = "ID", conflicts_with = "all")]
        end: Option<String>,
        /// End all of them.
        #[arg(long)]
        all: bool,
    },
    /// Take users over from elsewhere, with their password hashes.
    Import {
        /// One JSON object a line, as `users` of `writ apply` has them: username, email, claims,
        /// password_hash and so on. `-` is standard input.
        file: PathBuf,
        /// Only say what would change.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Args)]
struct Add {
    /// The name to sign in with.
    username: String,
    /// Their name for people.
    #[arg(long)]
    name: Option<String>,
    /// E-mail address.
    #[arg(long)]
    email: Option<String>,
    /// Somebody has made sure that the address is theirs; then they may sign in with it.
    #[arg(long, requires = "email")]
    email_verified: bool,
    /// Without a password, for whoever gets one later.
    #[arg(long, conflicts_with = "source")]
    no_password: bool,
    #[command(flatten)]
    password: Password,
}

/// Where a password is. Never on the command line, which others can read.
#[derive(Debug, Args)]
struct Password {
    /// Read the password from standard input.
    #[arg(long, group = "source")]
    password_stdin: bool,
    /// Read the password from a file.
    #[arg(long, value_name = "FILE", group = "source")]
    password_file: Option<PathBuf>,
}

impl Password {
    fn read(&self) -> Result<String, Failure> {
        if self.password_stdin {
            return secret_from_stdin();
        }
        if let Some(path) = &self.password_file {
            return secret_from(path);
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure::new(
                "there is no terminal to ask for the password: use --password-stdin or \
                 --password-file FILE",
            ));
        }
        let password = rpassword::prompt_password("Password: ")?;
        if rpassword::prompt_password("Once more: ")? != password {
            return Err(Failure::new("these are two different passwords"));
        }
        Ok(password)
    }
}

/// The first line of a file.
///
/// # Errors
/// Names the file.
pub(super) fn secret_from(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).map_err(|why| Failure::from(why).at(path))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(Failure::new("holds no password").at(path)),
    }
}

impl User {
    pub(super) async fn run(self, json: bool) -> Result<ExitCode, Failure> {
        let connection = &self.connection;
        match self.action {
            Action::List => {
                let api = Api::connect(connection).await?;
                view::list(&all(&api).await?, json);
            }
            Action::Show { user } => {
                let api = Api::connect(connection).await?;
                let user: Value = api.get(&api::path("users", &user)).await?;
                view::show(&user, "user", json);
            }
            Action::Add(add) => {
                let declaration = add.declaration()?;
                let api = Api::connect(connection).await?;
                let user: Value = api.post("/users", &declaration).await?;
                view::show(&user, "created user", json);
            }
            Action::Remove { user } => {
                let api = Api::connect(connection).await?;
                api.delete(&api::path("users", &user)).await?;
                print::removed("user", &user, json);
            }
            Action::Disable { user } => switch(connection, &user, "disable", json).await?,
            Action::Enable { user } => switch(connection, &user, "enable", json).await?,
            Action::SetPassword {
                user,
                password,
                keep_apps,
            } => {
                let body = json!({ "password": password.read()?, "keep_apps": keep_apps });
                let api = Api::connect(connection).await?;
                let path = api::path("users", &user);
                api.send(&format!("{path}/password"), &body).await?;
                let user: Value = api.get(&path).await?;
                view::show(&user, "new password for user", json);
            }
            Action::ResetFactor { user } => {
                let api = Api::connect(connection).await?;
                let path = api::path("users", &user);
                api.delete(&format!("{path}/authenticator")).await?;
                let user: Value = api.get(&path).await?;
                view::show(&user, "no second factor any more for user", json);
            }
            Action::Credentials { user, remove } => {
                let api = Api::connect(connection).await?;
                credentials(&api, &user, remove.as_deref(), json).await?;
            }
            Action::Sessions { user, end, all } => {
                let api = Api::connect(connection).await?;
                sessions(&api, &user, end.as_deref(), all, json).await?;
            }
            Action::Import { file, dry_run } => {
                let users = read_lines(&file)?;
                let api = Api::connect(connection).await?;
                import(&api, &users, dry_run, json).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Add {
    fn declaration(&self) -> Result<Value, Failure> {
        let mut declaration = json!({ "username": self.username });
        if let Some(email) = &self.email {
            declaration["email"] = json!(email);
            declaration["email_verified"] = json!(self.email_verified);
        }
        if let Some(name) = &self.name {
            declaration["claims"] = json!({ "name": name });
        }
        if !self.no_password {
            declaration["password"] = json!(self.password.read()?);
        }
        let _: UserDeclaration = document::fits(declaration.clone())?;
        Ok(declaration)
    }
}

async fn switch(
    connection: &Connection,
    user: &str,
    verb: &str,
    json: bool,
) -> Result<(), Failure> {
    let api = Api::connect(connection).await?;
    let path = format!("{}/{verb}", api::path("users", user));
    let user: Value = api.post(&path, &json!({})).await?;
    view::show(&user, &format!("{verb}d user"), json);
    Ok(())
}

async fn credentials(
    api: &Api,
    user: &str,
    remove: Option<&str>,
    json: bool,
) -> Result<(), Failure> {
    let path = api::path("users", user);
    if let Some(id) = remove {
        let one = api::path("credentials", id);
        api.delete(&format!("{path}{one}")).await?;
        print::removed("credential", id, json);
        return Ok(());
    }
    let all: Vec<Value> = api.get(&format!("{path}/credentials")).await?;
    view::credentials(&all, json);
    Ok(())
}

async fn sessions(
    api: &Api,
    user: &str,
    end: Option<&str>,
    all: bool,
    json: bool,
) -> Result<(), Failure> {
    let path = api::path("users", user);
    if let Some(sid) = end {
        let one = api::path("sessions", sid);
        api.delete(&format!("{path}{one}")).await?;
        print::removed("session", sid, json);
        return Ok(());
    }
    let path = format!("{path}/sessions");
    let there: Vec<Value> = api.get(&path).await?;
    if all {
        api.delete(&path).await?;
    }
    view::sessions(&there, all, json);
    Ok(())
}

/// All users, a page at a time.
async fn all(api: &Api) -> Result<Vec<Value>, Failure> {
    let mut users: Vec<Value> = Vec::new();
    loop {
        let after = users.last().map(|user| text(user, "username"));
        let page: Vec<Value> = api
            .get(&format!("/users{}", api::query(&[("after", after)])))
            .await?;
        if page.is_empty() {
            return Ok(users);
        }
        users.extend(page);
    }
}

/// Users of a file, one a line; a line that does not fit is named.
fn read_lines(file: &Path) -> Result<Vec<Value>, Failure> {
    let broken = |why: std::io::Error| Failure::from(why).at(file);
    let lines: Vec<String> = if file == Path::new("-") {
        std::io::stdin().lock().lines().collect::<Result<_, _>>()
    } else {
        std::fs::read_to_string(file).map(|text| text.lines().map(str::to_owned).collect())
    }
    .map_err(broken)?;
    let mut users = Vec::new();
    for (number, line) in (1..).zip(lines).filter(|(_, line)| !line.trim().is_empty()) {
        let at = |why: String| Failure::new(format!("line {number}: {why}")).at(file);
        let user: Value = serde_json::from_str(&line).map_err(|why| at(why.to_string()))?;
        let _: UserDeclaration = document::fits(user.clone()).map_err(|why| at(why.to_string()))?;
        users.push(user);
    }
    Ok(users)
}

/// Sends them some at a time: what was sent before a failure stays, and the same file again goes
/// on where it ended.
async fn import(api: &Api, users: &[Value], dry_run: bool, json: bool) -> Result<(), Failure> {
    let mut done: Vec<Line> = Vec::new();
    for users in users.chunks(AT_ONCE) {
        let lines = apply::send(api, &json!({ "users": users }), dry_run).await;
        let lines = lines.map_err(|why| {
            Failure::new(format!(
                "{why}\n  {} users before that were taken over",
                done.len()
            ))
        })?;
        done.extend(lines);
    }
    if json {
        print::json(&done);
        return Ok(());
    }
    let count = |action| done.iter().filter(|line| line.action == action).count();
    let would = if dry_run { "would be " } else { "" };
    print::line(&format!(
        "{would}created {}, changed {}, unchanged {}",
        count(Did::Created),
        count(Did::Changed),
        count(Did::Unchanged)
    ));
    Ok(())
}

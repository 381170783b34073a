//! A browser: cookies, pages, forms. It runs no script.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Answer, TestApp};

/// A browser with its cookies.
pub(crate) struct Browser<'a> {
    app: &'a TestApp,
    pub(crate) cookies: BTreeMap<String, String>,
    peer: &'static str,
}

/// A page it has come to.
pub(crate) struct Page {
    /// Path and query.
    pub(crate) path: String,
    pub(crate) answer: Answer,
}

/// A form of a page.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) action: String,
    /// What it asks the browser's authenticator for.
    pub(crate) passkey: Option<Value>,
    /// Names and values of the fields that nobody sees.
    pub(crate) hidden: Vec<(String, String)>,
}

impl<'a> Browser<'a> {
    pub(crate) fn new(app: &'a TestApp) -> Self {
        Self::at(app, "192.0.2.1")
    }

    /// A browser at this address.
    pub(crate) fn at(app: &'a TestApp, peer: &'static str) -> Self {
        Self {
            app,
            cookies: BTreeMap::new(),
            peer,
        }
    }

    /// Another one with the same cookies.
    pub(crate) fn copy(&self) -> Self {
        Self {
            app: self.app,
            cookies: self.cookies.clone(),
            peer: self.peer,
        }
    }

    /// Asks for a page, and does not follow where it leads.
    pub(crate) async fn get(&mut self, path: &str) -> Page {
        self.send("GET", path, None).await
    }

    /// Sends a form, and does not follow where it leads.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.send("POST", path, Some(fields)).await
    }

    /// Asks for a page and follows redirects that stay here.
    pub(crate) async fn open(&mut self, path: &str) -> Page {
        let page = self.get(path).await;
        self.follow(page).await
    }

    /// Fills in the form of a page that leads to this action, with its hidden fields, and follows.
    pub(crate) async fn submit(
        &mut self,
        page: &Page,
        action: &str,
        fields: &[(&str, &str)],
    ) -> Page {
        let answer = self.submit_only(page, action, fields).await;
        self.follow(answer).await
    }

    /// The same without following.
    pub(crate) async fn submit_only(
        &mut self,
        page: &Page,
        action: &str,
        fields: &[(&str, &str)],
    ) -> Page {
        let form = page.form(action);
        let hidden = form.hidden.iter();
        // A script puts its own value in the place of what is there.
        let hidden = hidden.filter(|(name, _)| fields.iter().all(|(known, _)| known != name));
        let mut all: Vec<(&str, &str)> = hidden.map(|(n, v)| (n.as_str(), v.as_str())).collect();
        all.extend(fields);
        self.post(&form.action, &all).await
    }

    /// Follows redirects as far as they stay here.
    pub(crate) async fn follow(&mut self, mut page: Page) -> Page {
        for _ in 0..10 {
            let Some(location) = page.location() else {
                return page;
            };
            page = self.get(&location).await;
        }
        panic!("more redirects than anybody needs, at {}", page.path);
    }

    /// Signs in with a password, wherever that leads.
    pub(crate) async fn sign_in(&mut self, username: &str, password: &str) -> Page {
        let page = self.open("/login").await;
        let fields = [("username", username), ("password", password)];
        self.submit(&page, "/login", &fields).await
    }

    async fn send(&mut self, method: &str, path: &str, form: Option<&[(&str, &str)]>) -> Page {
        let mut call = self.app.call(method, path).from(self.peer);
        if !self.cookies.is_empty() {
            let pairs = self.cookies.iter();
            let pairs: Vec<String> = pairs
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            call = call.header("cookie", &pairs.join("; "));
        }
        if let Some(form) = form {
            call = call.form(form);
        }
        let answer = call.await;
        for cookie in answer.headers.get_all("set-cookie") {
            let (pair, rest) = cookie.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Page {
            path: path.to_owned(),
            answer,
        }
    }
}

impl Page {
    /// Its text.
    pub(crate) fn text(&self) -> String {
        self.answer.text()
    }

    /// Where it sends the browser, if that is here.
    pub(crate) fn location(&self) -> Option<String> {
        let location = self.answer.header("location")?;
        (self.answer.status == 303 && location.starts_with('/')).then(|| location.to_owned())
    }

    /// The text of the element with this id.
    pub(crate) fn element(&self, id: &str) -> Option<String> {
        let text = self.text();
        let at = text.find(&format!("id=\"{id}\""))?;
        let inner = text[at..].split_once('>')?.1.split_once('<')?.0;
        Some(plain(inner).trim().to_owned())
    }

    /// The form that leads to this action.
    #[track_caller]
    pub(crate) fn form(&self, action: &str) -> Form {
        let forms = self.forms();
        let found = forms.into_iter().find(|form| form.action == action);
        found.unwrap_or_else(|| panic!("no form to {action} in {}: {}", self.path, self.text()))
    }

    /// All forms.
    pub(crate) fn forms(&self) -> Vec<Form> {
        let text = self.text();
        let forms = text.split("<form ").skip(1).map(|form| {
            let form = form.split("</form>").next().unwrap();
            let inputs = form.split("<input ").skip(1);
            let hidden = inputs.filter(|input| input.starts_with("type=\"hidden\""));
            Form {
                action: attribute(form, "action").unwrap(),
                passkey: attribute(form, "data-passkey")
                    .map(|options| serde_json::from_str(&options).unwrap()),
                hidden: hidden
                    .map(|input| {
                        let value = attribute(input, "value").unwrap_or_default();
                        (attribute(input, "name").unwrap(), value)
                    })
                    .collect(),
            }
        });
        forms.collect()
    }
}

/// An attribute of a tag.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let tag = tag.split('>').next()?;
    let value = tag.split_once(&format!("{name}=\""))?.1.split_once('"')?.0;
    Some(plain(value))
}

fn plain(text: &str) -> String {
    let mut text = text.to_owned();
    for (entity, character) in [
        ("&#x2f;", "/"),
        ("&quot;", "\""),
        ("&#x27;", "'"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&amp;", "&"),
    ] {
        text = text.replace(entity, character);
    }
    text
}

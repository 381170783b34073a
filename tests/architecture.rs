//! Who may import whom, and what the requirements claim.
//!
//! The rule is the table in `src/lib.rs`; this test reads it from there. Anyone may change the
//! table, and then says so in the book's first page.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::visit::{self, Visit};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `directory` with this extension, with its path below the repository.
fn files(directory: &str, extension: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root().join(directory)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "nothing in {directory}");
    found
}

/// The module a source file belongs to, as a path below the crate: `["keys", "jws"]`.
fn module_of(file: &str) -> Vec<String> {
    let path = Path::new(file.strip_prefix("src/").unwrap()).with_extension("");
    let mut module: Vec<String> = path
        .iter()
        .map(|p| p.to_str().unwrap().to_owned())
        .collect();
    if module
        .last()
        .is_some_and(|m| matches!(m.as_str(), "mod" | "lib"))
    {
        module.pop();
    }
    module
}

/// What a file refers to: modules of this crate, and other crates.
struct References {
    module: Vec<String>,
    ours: BTreeSet<String>,
    crates: BTreeSet<String>,
}

impl References {
    fn of(file: &str, text: &str) -> Self {
        let mut references = Self {
            module: module_of(file),
            ours: BTreeSet::new(),
            crates: BTreeSet::new(),
        };
        references.visit_file(&syn::parse_file(text).expect(file));
        references
    }

    /// Notes a path by its first segments.
    fn note(&mut self, segments: &[String]) {
        let supers = segments.iter().take_while(|s| *s == "super").count();
        match segments.first().map(String::as_str) {
            Some("crate") => self.ours.extend(segments.get(1).cloned()),
            Some("super") if supers >= self.module.len() => {
                self.ours.extend(segments.get(supers).cloned());
            }
            Some("self" | "super" | "Self") | None => {}
            Some(other) => {
                self.crates.insert(other.to_owned());
            }
        }
    }

    fn walk(&mut self, tree: &syn::UseTree, before: &[String]) {
        let mut path = before.to_vec();
        match tree {
            syn::UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.walk(&part.tree, &path);
            }
            syn::UseTree::Name(name) => {
                path.push(name.ident.to_string());
                self.note(&path);
            }
            syn::UseTree::Rename(name) => {
                path.push(name.ident.to_string());
                self.note(&path);
            }
            syn::UseTree::Glob(_) => self.note(&path),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.walk(tree, before);
                }
            }
        }
    }

    /// Paths inside macros and attributes, which have no syntax tree.
    fn tokens(&mut self, text: &str) {
        for rest in text.split("crate ::").skip(1) {
            let name = rest
                .trim_start()
                .split([' ', ':', ';'])
                .next()
                .unwrap_or_default();
            self.ours.insert(name.to_owned());
        }
    }
}

impl<'ast> Visit<'ast> for References {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.walk(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let segments: Vec<_> = path.segments.iter().map(|s| s.ident.to_string()).collect();
            self.note(&segments);
        }
        visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        // What only tests use is not part of the server.
        let is_test = |attribute: &syn::Attribute| {
            let list = attribute.meta.require_list();
            list.is_ok_and(|l| l.path.is_ident("cfg") && l.tokens.to_string() == "test")
        };
        if item.attrs.iter().any(is_test) {
            return;
        }
        // A module in a module: `super` goes one step less far.
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        self.tokens(&mac.tokens.to_string());
        visit::visit_macro(self, mac);
    }

    fn visit_meta_list(&mut self, list: &'ast syn::MetaList) {
        self.tokens(&list.tokens.to_string());
    }
}

/// The words in backticks of a table cell.
fn names(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The table of `src/lib.rs`: each module with what it may use; `None` is everything.
fn table() -> BTreeMap<String, Option<BTreeSet<String>>> {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mut table = BTreeMap::new();
    let mut above = BTreeSet::new();
    for row in text.lines().filter_map(|l| l.strip_prefix("//! |")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let modules = names(cells[0]);
        if modules.is_empty() {
            continue;
        }
        let rule = cells[2];
        let mut may: BTreeSet<String> = names(rule).into_iter().collect();
        if rule.contains("the above") {
            may.extend(above.iter().cloned());
        }
        let may = (rule != "everything").then_some(may);
        above.extend(modules.iter().cloned());
        for module in modules {
            table.insert(module, may.clone());
        }
    }
    table
}

#[test]
fn the_table_names_every_module_and_no_other() {
    let mut there: BTreeSet<String> = BTreeSet::new();
    for (file, _) in files("src", "rs") {
        there.extend(module_of(&file).first().cloned());
    }
    // The binary parses arguments; telemetry is what everyone logs through, set up by it.
    for outside in ["main", "telemetry"] {
        assert!(there.remove(outside), "{outside}");
    }
    let named: BTreeSet<String> = table().into_keys().filter(|m| m != "telemetry").collect();
    assert_eq!(named, there);
}

#[test]
fn modules_import_only_what_the_table_lets_them() {
    let table = table();
    let mut wrong = Vec::new();
    for (file, text) in files("src", "rs") {
        let references = References::of(&file, &text);
        let Some(module) = module_of(&file).first().cloned() else {
            continue;
        };
        let Some(Some(may)) = table.get(&module) else {
            continue;
        };
        for used in &references.ours {
            let allowed = *used == module || may.contains(used) || !table.contains_key(used);
            if !allowed {
                wrong.push(format!("{file} uses crate::{used}"));
            }
        }
    }
    assert_eq!(wrong, [""; 0], "not in the table of src/lib.rs");
}

/// Files below src that name this crate.
fn users(name: &str) -> BTreeSet<String> {
    let sources = files("src", "rs").into_iter();
    sources
        .filter(|(file, text)| References::of(file, text).crates.contains(name))
        .map(|(file, _)| file)
        .collect()
}

fn outside(name: &str, allowed: &[&str]) -> Vec<String> {
    let users = users(name);
    for place in allowed {
        assert!(
            users.iter().any(|file| file.starts_with(place)),
            "{name} is not in {place}"
        );
    }
    users
        .into_iter()
        .filter(|file| !allowed.iter().any(|place| file.starts_with(place)))
        .collect()
}

#[test]
fn axum_stays_where_http_is_spoken() {
    // The demo is a world of its own around the server: its MCP server speaks HTTP too.
    let allowed = [
        "src/endpoints/",
        "src/resources/http.rs",
        "src/streams/",
        "src/admin/",
        "src/web/",
        "src/users/",
        "src/logout/",
        "src/error.rs",
        "src/context.rs",
        "src/router",
        "src/demo",
    ];
    assert_eq!(outside("axum", &allowed), [""; 0]);
}

#[test]
fn the_database_stays_behind_store_and_journal() {
    // `app` holds the connections and turns their failures into answers.
    let allowed = ["src/store/", "src/journal", "src/app.rs"];
    assert_eq!(outside("sea_orm", &allowed), [""; 0]);
}

#[test]
fn libraries_of_one_job_stay_in_one_place() {
    assert_eq!(outside("jsonwebtoken", &["src/keys/"]), [""; 0]);
    let oxide = [
        "src/oauth/scope.rs",
        "src/oauth/pkce.rs",
        "src/authorize/machine.rs",
    ];
    assert_eq!(outside("oxide_auth", &oxide), [""; 0]);
    assert_eq!(outside("figment", &["src/config"]), [""; 0]);
}

#[test]
fn tables_are_models_and_nothing_else() {
    for (file, text) in files("entity/src", "rs") {
        let logic: Vec<&str> = text.lines().filter(|l| l.contains("fn ")).collect();
        assert_eq!(logic, [""; 0], "{file}");
    }
}

/// Every test function by its name, with the files it is in.
fn tests() -> BTreeMap<String, Vec<String>> {
    let mut tests: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for directory in ["tests", "src", "sdk"] {
        for (file, text) in files(directory, "rs") {
            let mut marked = false;
            for line in text.lines().map(str::trim) {
                if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                    marked = true;
                } else if let Some(rest) = line.split("fn ").nth(1).filter(|_| marked) {
                    let name = rest.split(['(', '<']).next().unwrap();
                    tests.entry(name.to_owned()).or_default().push(file.clone());
                    marked = false;
                }
            }
        }
    }
    tests
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Requirements {
    title: String,
    requirement: Vec<Requirement>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Requirement {
    clause: String,
    level: String,
    text: String,
    #[serde(default)]
    test: Vec<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    why: Option<String>,
}

#[test]
fn every_requirement_we_keep_names_the_tests_that_prove_it() {
    let tests = tests();
    let mut missing = Vec::new();
    for (file, text) in files("conformance/requirements", "toml") {
        let document: Requirements =
            toml::from_str(&text).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(
            !document.title.is_empty() && !document.requirement.is_empty(),
            "{file}"
        );
        let mut texts = BTreeSet::new();
        for entry in document.requirement {
            let place = format!("{file}: {} {}", entry.clause, entry.text);
            assert!(texts.insert(entry.text.clone()), "{place}: twice");
            assert!(
                matches!(
                    entry.level.as_str(),
                    "MUST" | "MUST NOT" | "SHOULD" | "SHOULD NOT" | "MAY"
                ),
                "{place}: {}",
                entry.level
            );
            match entry.status.as_deref() {
                None => assert!(!entry.test.is_empty(), "{place}: proved by nothing"),
                Some("not yet") => {
                    assert!(entry.test.is_empty() && entry.why.is_some(), "{place}");
                }
                Some(other) => panic!("{place}: status '{other}'"),
            }
            for test in &entry.test {
                // `file::name`, where the file's name tells tests of one name apart.
                let (module, name) = test.rsplit_once("::").expect(&place);
                let found = tests.get(name).is_some_and(|files| {
                    let path = module.replace("::", "/");
                    files.iter().any(|f| {
                        f.trim_end_matches(".rs")
                            .trim_end_matches("/mod")
                            .ends_with(&path)
                    })
                });
                if !found {
                    missing.push(format!("{place}: {test}"));
                }
            }
        }
    }
    assert_eq!(missing, [""; 0], "tests that do not exist");
}

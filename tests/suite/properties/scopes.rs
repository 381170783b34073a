//! Scope algebra, from the decision itself: nothing is granted that was not given.
//!
//! The model beside the server's code is small and naive: a client's rights as sets of tools, a
//! hierarchy followed step by step.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;
use serde_json::{Value, json};
use writ::{
    oauth::{claims::AccessClaims, scope::Scope},
    policy::{Facts, OnBehalf, Permit, Request, decide},
    registry::{Client, Resource, Resources},
};

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// A resource's scopes: what each includes, and which are sensitive themselves.
#[derive(Clone, Debug)]
struct Catalogue {
    includes: BTreeMap<&'static str, BTreeSet<&'static str>>,
    sensitive: BTreeSet<&'static str>,
}

impl Catalogue {
    fn closure(&self, scopes: &BTreeSet<&'static str>) -> BTreeSet<&'static str> {
        let mut closure: BTreeSet<&'static str> = scopes
            .iter()
            .filter(|s| self.includes.contains_key(*s))
            .copied()
            .collect();
        loop {
            let more: BTreeSet<_> = closure
                .iter()
                .flat_map(|s| self.includes[s].iter().copied())
                .collect();
            let before = closure.len();
            closure.extend(more);
            if closure.len() == before {
                return closure;
            }
        }
    }

    fn is_sensitive(&self, scope: &'static str) -> bool {
        let closure = self.closure(&BTreeSet::from([scope]));
        closure.iter().any(|s| self.sensitive.contains(s))
    }

    /// What a list of an access entry stands for.
    fn given(&self, list: &BTreeSet<&'static str>, star: bool) -> BTreeSet<&'static str> {
        let mut given = self.closure(list);
        if star {
            given.extend(self.includes.keys().filter(|s| !self.is_sensitive(s)));
        }
        given
    }

    fn resource(&self, id: &str) -> Arc<Resource> {
        let scopes: Vec<Value> = self
            .includes
            .iter()
            .map(|(name, includes)| {
                let sensitive = self.sensitive.contains(name);
                json!({ "name": name, "includes": includes, "sensitive": sensitive })
            })
            .collect();
        let row = entity::resource::Model {
            tenant: "default".into(),
            id: id.into(),
            uri: uri(id),
            normalised: uri(id),
            registered_by: None,
            document: json!({ "scopes": scopes }).to_string(),
            created_at: 0,
            updated_at: 0,
        };
        Resource::from_row(&row).unwrap()
    }
}

fn uri(id: &str) -> String {
    format!("https://{id}.example/mcp")
}

fn subset() -> impl Strategy<Value = BTreeSet<&'static str>> {
    proptest::collection::btree_set(proptest::sample::select(&NAMES[..]), 0..5)
}

fn catalogue() -> impl Strategy<Value = Catalogue> {
    let includes = proptest::collection::vec(subset(), NAMES.len());
    (includes, subset(), subset()).prop_map(|(includes, sensitive, mut known)| {
        // Circles included: the hierarchy is whatever an operator wrote down.
        known.insert("a");
        let includes = NAMES
            .into_iter()
            .zip(includes)
            .filter(|(name, _)| known.contains(name))
            .map(|(name, set)| (name, set.intersection(&known).copied().collect()))
            .collect();
        let sensitive = sensitive.intersection(&known).copied().collect();
        Catalogue {
            includes,
            sensitive,
        }
    })
}

/// A list of an access entry, and whether `*` is in it.
fn rights() -> impl Strategy<Value = (BTreeSet<&'static str>, bool)> {
    (subset(), any::<bool>())
}

fn listed(rights: &(BTreeSet<&'static str>, bool), catalogue: &Catalogue) -> Value {
    let mut list: Vec<&str> = rights.0.iter().copied().collect();
    list.retain(|name| catalogue.includes.contains_key(name));
    if rights.1 {
        list.push("*");
    }
    json!(list)
}

fn client(id: &str, members: &Value) -> Arc<Client> {
    let mut document = json!({
        "name": "", "profile": "strict", "token_endpoint_auth_method": "client_secret_basic",
        "grant_types": [], "access": [], "exchange": [], "delegates": [],
        "multiple_resources": false, "metadata": {},
    });
    for (name, value) in members.as_object().unwrap() {
        document[name] = value.clone();
    }
    let row = entity::client::Model {
        tenant: "default".into(),
        client_id: id.into(),
        origin: "declared".into(),
        secret_digest: None,
        secret_expires_at: 0,
        registration_digest: None,
        document: document.to_string(),
        disabled: false,
        created_at: 0,
        updated_at: 0,
    };
    Arc::new(Client::from_row(&row).unwrap())
}

fn scope(names: &BTreeSet<&'static str>) -> Scope {
    let names: Vec<&str> = names.iter().copied().collect();
    names.join(" ").parse().unwrap()
}

fn granted(permit: &Permit) -> BTreeSet<&'static str> {
    let words = permit.scope().split(' ');
    words
        .map(|w| *NAMES.iter().find(|n| **n == w).unwrap())
        .collect()
}

fn subject(scopes: &BTreeSet<&'static str>, resource: &str) -> AccessClaims {
    let scope: Vec<&str> = scopes.iter().copied().collect();
    let claims = json!({
        "iss": "https://as.example", "sub": "owner", "client_id": "owner", "aud": resource,
        "exp": 2, "iat": 1, "jti": "j", "scope": scope.join(" "),
    });
    serde_json::from_value(claims).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn a_client_gets_no_more_than_it_was_given(
        catalogue in catalogue(),
        rights in rights(),
        requested in proptest::option::of(subset()),
    ) {
        let resource = catalogue.resource("r");
        let mut resources = Resources::default();
        resources.insert(resource);
        let access = json!([{ "resource": uri("r"), "scopes": listed(&rights, &catalogue) }]);
        let request = Request {
            client: client("c", &json!({ "access": access })),
            targets: vec!["https://r.example/mcp"],
            audiences: Vec::new(),
            scope: requested.as_ref().map(scope),
            on_behalf: OnBehalf::Itself,
            proved_key: None,
        };
        let facts = Facts { resources: &resources, subject_client: None, max_depth: 4 };
        let Ok(permit) = decide(request, &facts) else { return Ok(()) };
        let granted = granted(&permit);
        prop_assert!(!granted.is_empty());
        let given = catalogue.given(&rights.0, rights.1);
        prop_assert!(granted.is_subset(&given), "{granted:?} of {given:?}");
        match requested.filter(|r| !r.is_empty()) {
            Some(requested) => {
                prop_assert!(granted.is_subset(&catalogue.closure(&requested)));
            }
            // Nothing sensitive without being named.
            None => prop_assert!(granted.iter().all(|s| !catalogue.is_sensitive(s))),
        }
        // A sensitive scope only where the list itself says so, never through `*`.
        let named = catalogue.closure(&rights.0);
        for sensitive in granted.iter().filter(|s| catalogue.is_sensitive(s)) {
            prop_assert!(named.contains(sensitive), "{sensitive} through *");
        }
        // Granting is closed: what a granted scope includes is granted too.
        prop_assert_eq!(&catalogue.closure(&granted), &granted);
    }

    #[test]
    fn an_exchange_at_the_same_resource_only_shrinks(
        catalogue in catalogue(),
        owner in subset(),
        rights in rights(),
        requested in proptest::option::of(subset()),
        way in 0..3_u8,
    ) {
        let resource = catalogue.resource("r");
        let mut resources = Resources::default();
        resources.insert(resource);
        let access = json!([{ "resource": uri("r"), "scopes": listed(&rights, &catalogue) }]);
        // The delegate, the server of the resource, or the owner itself.
        let (id, members) = match way {
            0 => ("delegate", json!({ "access": access })),
            1 => ("server", json!({ "serves": uri("r") })),
            _ => ("owner", json!({})),
        };
        let owner_client = client("owner", &json!({ "delegates": ["delegate"] }));
        let request = Request {
            client: client(id, &members),
            targets: Vec::new(),
            audiences: Vec::new(),
            scope: requested.as_ref().map(scope),
            on_behalf: OnBehalf::Subject {
                subject: Box::new(subject(&owner, &uri("r"))),
                actor: None,
            },
            proved_key: None,
        };
        let facts =
            Facts { resources: &resources, subject_client: Some(&owner_client), max_depth: 4 };
        let Ok(permit) = decide(request, &facts) else { return Ok(()) };
        let granted = granted(&permit);
        prop_assert!(!granted.is_empty());
        prop_assert!(granted.is_subset(&catalogue.closure(&owner)));
        if way == 0 {
            let given = catalogue.given(&rights.0, rights.1);
            prop_assert!(granted.is_subset(&given), "{granted:?} of {given:?}");
        }
        if let Some(requested) = requested.filter(|r| !r.is_empty()) {
            prop_assert!(granted.is_subset(&catalogue.closure(&requested)));
            // Nothing that was asked for is silently left out: it is granted, or refused aloud.
            prop_assert!(requested.is_subset(&granted));
        }
        prop_assert_eq!(permit.subject(), "owner");
        prop_assert_eq!(permit.not_after(), Some(2));
        prop_assert_eq!(permit.act().is_some(), way != 2);
    }

    #[test]
    fn an_exchange_for_another_resource_gives_only_what_both_sides_hold(
        here in catalogue(),
        there in catalogue(),
        owner in subset(),
        reach in rights(),
        translate in proptest::collection::btree_map(
            proptest::sample::select(&NAMES[..]), subset(), 0..3,
        ),
        requested in proptest::option::of(subset()),
    ) {
        let mut resources = Resources::default();
        resources.insert(here.resource("here"));
        resources.insert(there.resource("there"));
        let translate: BTreeMap<_, BTreeSet<_>> = translate
            .into_iter()
            .map(|(from, to)| (from, to.into_iter().filter(|s| there.includes.contains_key(s)).collect()))
            .collect();
        let exchange = json!([{
            "resource": uri("there"), "scopes": listed(&reach, &there), "translate": translate,
        }]);
        let server = client("server", &json!({ "serves": uri("here"), "exchange": exchange }));
        let owner_client = client("owner", &json!({}));
        let request = Request {
            client: server,
            targets: vec!["https://there.example/mcp"],
            audiences: Vec::new(),
            scope: requested.as_ref().map(scope),
            on_behalf: OnBehalf::Subject {
                subject: Box::new(subject(&owner, &uri("here"))),
                actor: None,
            },
            proved_key: None,
        };
        let facts =
            Facts { resources: &resources, subject_client: Some(&owner_client), max_depth: 4 };
        let Ok(permit) = decide(request, &facts) else { return Ok(()) };
        let granted = granted(&permit);
        let same_name = there.closure(&owner);
        let reachable = there.given(&reach.0, reach.1);
        let translated: BTreeSet<_> = translate
            .iter()
            .filter(|(from, _)| owner.contains(*from))
            .flat_map(|(_, to)| there.closure(to))
            .collect();
        for scope in &granted {
            let both = same_name.contains(scope) && reachable.contains(scope);
            prop_assert!(both || translated.contains(scope), "{scope} from nowhere");
        }
        prop_assert_eq!(permit.resources().len(), 1);
        prop_assert_eq!(permit.resources()[0].uri(), uri("there"));
    }

    #[test]
    fn a_scope_is_a_set_with_one_printed_form(one in subset(), two in subset()) {
        let (a, b) = (scope(&one), scope(&two));
        prop_assert_eq!(a <= b, one.is_subset(&two));
        prop_assert_eq!(a == b, one == two);
        let printed = a.to_string();
        prop_assert_eq!(&printed.parse::<Scope>().unwrap(), &a);
        prop_assert_eq!(printed.parse::<Scope>().unwrap().to_string(), printed);
    }
}

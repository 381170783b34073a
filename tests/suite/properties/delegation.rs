//! Chains of actors: how long they get, and that no name is lost.

use proptest::prelude::*;
use writ::oauth::claims::{depth, extend};

use crate::{
    grant_types::token_exchange::chain,
    support::{TestApp, WEATHER, parts},
};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn extending_a_chain_adds_one_name_in_front(names in proptest::collection::vec("[a-z]{1,8}", 1..20)) {
        let mut actor = None;
        for (i, name) in names.iter().enumerate() {
            let extended = extend(name, actor);
            prop_assert_eq!(&extended.sub, name);
            prop_assert_eq!(depth(Some(&extended)), i + 1);
            actor = Some(extended);
        }
        let mut seen = Vec::new();
        let mut current = actor.as_ref();
        while let Some(actor) = current {
            seen.push(actor.sub.clone());
            current = actor.act.as_deref();
        }
        seen.reverse();
        prop_assert_eq!(seen, names);
    }
}

#[tokio::test]
async fn no_chain_is_longer_than_the_limit_whatever_it_is() {
    let names = ["agent", "a1", "a2", "a3", "a4", "a5", "a6"];
    for limit in 0..=5_usize {
        let app = TestApp::with(|c| c.policy.max_delegation_depth = limit).await;
        app.declare_weather(None).await;
        chain(&app, &names).await;
        let mut token = app.token("agent", WEATHER, "tool:forecast").await;
        for (i, name) in names[1..].iter().enumerate() {
            let answer = app.exchange(name, &token, &[]).await;
            if i < limit {
                token = answer.token();
                let mut act = parts(&token).1["act"].clone();
                for expected in names[1..=i + 1].iter().rev() {
                    assert_eq!(act["sub"], *expected);
                    act = act["act"].clone();
                }
                assert!(act.is_null());
            } else {
                answer.refused(400, "invalid_request");
                break;
            }
        }
    }
}

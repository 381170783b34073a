//! The audit trail, read, judged and handed on.

mod checkpoint;
mod refusals;
mod select;
mod sinks;
mod truncate;
mod verify;

use sea_orm::{ConnectionTrait as _, DbBackend, Statement, TransactionTrait as _};
use serde_json::Value;
use writ::{
    audit::{Chain, Chains, Event, Head, KEY_LABEL, Kind, Record},
    store,
};

use crate::support::TestApp;

impl TestApp {
    /// Edits the real database, as somebody would who may write to it.
    async fn sql(&self, sql: &str) {
        self.state.db.execute_unprepared(sql).await.unwrap();
    }

    /// A number from the real database.
    async fn number(&self, sql: &str) -> i64 {
        let backend = self.state.db.get_database_backend();
        let query = Statement::from_string(backend, format!("SELECT ({sql}) AS n"));
        let row = self.state.db.query_one_raw(query).await.unwrap().unwrap();
        row.try_get("", "n").unwrap()
    }

    /// Bytes as the database reads them.
    fn blob(&self, bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self.state.db.get_database_backend() {
            DbBackend::Postgres => format!("'\\x{hex}'::bytea"),
            _ => format!("x'{hex}'"),
        }
    }

    /// All events of a selection.
    async fn events(&self, query: &str) -> Vec<Value> {
        let path = format!("/audit?limit=1000&{query}");
        let events = self.admin("GET", &path).await.await.ok();
        events.as_array().unwrap().clone()
    }

    /// The chain of another node, as that node would have written it: it has the same sealing key.
    async fn other_node(&self, events: impl Iterator<Item = (i64, Event<'_>)>) {
        let chains = self.other_chains();
        let mut chain = Chain::default();
        let rows = events.map(|(at, event)| {
            let record = Record::new("default", at, Kind::TokenIssued, &event);
            chain.last.append(record, "2")
        });
        let rows = rows.collect();
        let transaction = self.state.db.begin().await.unwrap();
        store::audit::append(&transaction, rows).await.unwrap();
        let head = chains.seal("default", &chain);
        store::audit::put_heads(&transaction, vec![head])
            .await
            .unwrap();
        transaction.commit().await.unwrap();
    }

    /// The beginning of that chain taken away, as that node would do it.
    async fn other_node_cuts(&self, through: i64) {
        let (db, chains) = (&self.state.db, self.other_chains());
        let page = store::audit::page(db, "default", "2", Some(through - 1), 1).await;
        let page = page.unwrap();
        let mut chain = chains.open(&page.head.unwrap()).unwrap();
        chain.first = Head::of(through, &page.rows[0].hash).unwrap();
        let transaction = db.begin().await.unwrap();
        store::audit::cut(&transaction, "default", "2", through)
            .await
            .unwrap();
        store::audit::put_heads(&transaction, vec![chains.seal("default", &chain)])
            .await
            .unwrap();
        transaction.commit().await.unwrap();
    }

    fn other_chains(&self) -> Chains {
        let key = self.state.registry.sealer().derive(KEY_LABEL).unwrap();
        Chains::new("2".into(), &key)
    }
}

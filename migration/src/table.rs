//! What the steps make tables of: types that SQLite and PostgreSQL both have.

use sea_orm_migration::{prelude::*, schema};

/// A table whose primary key is made of the named columns.
pub(crate) fn table(
    name: &'static str,
    columns: Vec<ColumnDef>,
    key: &[&'static str],
) -> TableCreateStatement {
    let mut table = Table::create();
    table.table(Alias::new(name));
    for column in columns {
        table.col(column);
    }
    let mut primary = Index::create();
    for column in key {
        primary.col(Alias::new(*column));
    }
    table.primary_key(&mut primary);
    table
}

pub(crate) fn text(name: &'static str) -> ColumnDef {
    schema::text(Alias::new(name)).take()
}

pub(crate) fn text_null(name: &'static str) -> ColumnDef {
    schema::text_null(Alias::new(name)).take()
}

pub(crate) fn number(name: &'static str) -> ColumnDef {
    schema::big_integer(Alias::new(name)).take()
}

pub(crate) fn number_null(name: &'static str) -> ColumnDef {
    schema::big_integer_null(Alias::new(name)).take()
}

pub(crate) fn bytes(name: &'static str) -> ColumnDef {
    schema::blob(Alias::new(name)).take()
}

pub(crate) fn bytes_null(name: &'static str) -> ColumnDef {
    schema::blob_null(Alias::new(name)).take()
}

pub(crate) fn index(
    name: &'static str,
    table: &'static str,
    columns: &[&'static str],
) -> IndexCreateStatement {
    let mut index = Index::create();
    index.name(name).table(Alias::new(table));
    for column in columns {
        index.col(Alias::new(*column));
    }
    index
}

pub(crate) fn unique(table: &'static str, column: &'static str) -> IndexCreateStatement {
    Index::create()
        .name(format!("{table}_{column}"))
        .table(Alias::new(table))
        .col(Alias::new("tenant"))
        .col(Alias::new(column))
        .unique()
        .take()
}

//! The tables that resources describe, and the parameters of a statement.

use sqlx::{
    Postgres,
    postgres::PgArguments,
    query::Query,
    {Arguments, AssertSqlSafe},
};
use time::OffsetDateTime;
use uuid::Uuid;

/// A table whose rows, or parts of rows, are instances of a Graph type.
///
/// In the SQL of `columns`, `properties` and `odata_type`, `%` is the alias of the row. Other
/// SQL uses `alias`.
pub struct EntityTable {
    /// The alias of a row of the result.
    pub alias: &'static str,
    /// The name of the table.
    pub name: &'static str,
    /// The name of the type in the catalogue.
    pub of: &'static str,
    /// The columns of a row of the result.
    pub row: &'static str,
    /// The same columns, with an empty `jsonb` column.
    pub row_without_properties: &'static str,
    /// The fields of an expanded row on `/v1.0`, without the key of the parent.
    pub record: &'static str,
    /// The fields of an expanded row on `/beta`.
    pub beta_record: &'static str,
    /// The properties that have their own column.
    pub columns: &'static [(&'static str, PropertyColumn)],
    /// The `jsonb` column with all other properties.
    pub properties: Option<&'static str>,
    /// The column with the derived type of a row.
    pub odata_type: Option<&'static str>,
    /// The query of the digest of all rows of one parent, `%`.
    pub digest: Option<&'static str>,
}

impl EntityTable {
    /// Returns the SQL after `FROM`.
    pub fn from(&self) -> String {
        format!("{} AS {}", self.name, self.alias)
    }
}

/// A property in SQL.
pub enum PropertyColumn {
    /// A GUID.
    Id(&'static str),
    /// Text that is never null.
    Text(&'static str),
    /// Text of any length that is never null, and its indexed prefix of
    /// [`INDEXED_PREFIX_CHARS`] characters, by which it is sorted.
    LongText(&'static str, &'static str),
    /// Text that may be null.
    NullableText(&'static str),
    /// The id of an object that this service does not store, or null. A GUID is in lower case.
    Identifier(&'static str),
    /// A whole number that is never null.
    Number(&'static str),
    /// A point in time that is never null.
    Time(&'static str),
    /// A property that is true in every row.
    True,
    /// A complex value whose parts are columns of the same row.
    Part(&'static EntityTable),
    /// The rows of another table and the join condition. `%` in the condition is the alias of
    /// that table.
    Rows(&'static EntityTable, &'static str),
}

/// The number of characters of a long text that the index holds.
pub const INDEXED_PREFIX_CHARS: usize = 600;

/// The values of a statement, in the order of their parameter numbers.
#[derive(Default)]
pub struct Parameters {
    values: PgArguments,
    types: Vec<&'static str>,
}

impl Parameters {
    /// Adds a value. Returns its placeholder in the text of the statement.
    pub fn add(&mut self, value: Parameter) -> String {
        let (of, added) = match value {
            Parameter::Text(text) => ("text", self.values.add(text)),
            Parameter::Texts(texts) => ("texts", self.values.add(texts)),
            Parameter::Number(number) => ("number", self.values.add(number)),
            Parameter::Whole(number) => ("whole", self.values.add(number)),
            Parameter::Boolean(value) => ("boolean", self.values.add(value)),
            Parameter::Time(time) => ("time", self.values.add(time)),
            Parameter::Id(id) => ("id", self.values.add(id)),
            Parameter::Ids(ids) => ("ids", self.values.add(ids)),
        };
        debug_assert!(added.is_ok(), "each of these can be encoded");
        self.types.push(of);
        format!("${}", self.values.len())
    }

    /// Returns the statement with a text that contains the placeholders of [`Parameters::add`].
    ///
    /// sqlx prepares a statement once for each text, with the types of its first values. So the
    /// text contains the types in a comment.
    pub fn statement(self, text: String) -> Query<'static, Postgres, PgArguments> {
        let types = self.types.join(" ");
        sqlx::query_with(AssertSqlSafe(format!("{text} /* {types} */")), self.values)
    }
}

/// A value of a statement.
#[expect(missing_docs, reason = "the names say it")]
pub enum Parameter {
    Text(String),
    Texts(Vec<String>),
    Number(f64),
    Whole(i64),
    Boolean(bool),
    Time(OffsetDateTime),
    Id(Uuid),
    Ids(Vec<Uuid>),
}

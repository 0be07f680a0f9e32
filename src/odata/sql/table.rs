//! Tables, as a resource describes its own, and the parameters of a statement.

use sqlx::{
    Postgres,
    postgres::PgArguments,
    query::Query,
    {Arguments, AssertSqlSafe},
};
use time::OffsetDateTime;
use uuid::Uuid;

/// A table of which each row, or a part of it, is an instance of a Graph type.
///
/// In the SQL of `columns`, `properties` and `odata_type`, `%` stands for what
/// the row is called; elsewhere it is called `alias`.
pub struct EntityTable {
    /// What a row is called that is asked for.
    pub alias: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Name of the type in the catalogue.
    pub of: &'static str,
    /// The columns that a row of an answer is made of.
    pub row: &'static str,
    /// The same, with the `jsonb` column empty.
    pub row_without_properties: &'static str,
    /// The same as a record in an array, without the parent's key and what only
    /// `/beta` shows.
    pub record: &'static str,
    /// The same with what `/beta` shows.
    pub beta_record: &'static str,
    /// Properties with a column of their own.
    pub columns: &'static [(&'static str, PropertyColumn)],
    /// The `jsonb` column with the properties that have none.
    pub properties: Option<&'static str>,
    /// The column that says of which derived type a row is.
    pub odata_type: Option<&'static str>,
    /// What the rows of one parent say together, as the rows of the parent `%`.
    pub digest: Option<&'static str>,
}

impl EntityTable {
    /// What stands after `FROM`.
    pub fn from(&self) -> String {
        format!("{} AS {}", self.name, self.alias)
    }
}

/// What a property is in SQL.
pub enum PropertyColumn {
    /// A GUID.
    Id(&'static str),
    /// A text that is never null.
    Text(&'static str),
    /// A text of any length that is never null, and its beginning, [`INDEXED_PREFIX_CHARS`]
    /// characters, which an index has: it is sorted by them.
    LongText(&'static str, &'static str),
    /// A text that may be null.
    NullableText(&'static str),
    /// A whole number that is never null.
    Number(&'static str),
    /// A point in time that is never null.
    Time(&'static str),
    /// What is true of every row.
    True,
    /// A complex value whose parts are columns of the same row.
    Part(&'static EntityTable),
    /// The rows of another table that a condition joins, in which the other row
    /// is called what it is when it is asked for.
    Rows(&'static EntityTable, &'static str),
}

/// Characters of a long text that an index has.
pub const INDEXED_PREFIX_CHARS: usize = 600;

/// The values of a statement, in the order of their numbers.
#[derive(Default)]
pub struct Parameters {
    values: PgArguments,
    types: Vec<&'static str>,
}

impl Parameters {
    /// Adds a value; what stands for it in the text.
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

    /// The statement of a text that [`Parameters::add`] numbered.
    ///
    /// A statement is prepared once for a text, with the types of its first
    /// values: they are part of it.
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

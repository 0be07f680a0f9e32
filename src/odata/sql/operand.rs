//! An operand of a comparison, as SQL.

use crate::catalogue::{Enumeration, NAMESPACE, Primitive, version::Version};

/// An operand of a comparison.
#[derive(Clone)]
pub struct Operand {
    /// Its name in messages.
    pub name: String,
    /// The kind of values that it can be compared with.
    pub kind: Kind,
    /// Its SQL, valid where `guard` holds.
    pub sql: String,
    /// Whether it may be null.
    pub is_nullable: bool,
    /// The condition without which the operand is null.
    pub guard: Option<String>,
    /// Whether it is a time with more precision than a column has, cut to the precision of a
    /// column.
    pub is_cut: bool,
    /// Whether it is the id of an object that this service does not store. A GUID in it has lower
    /// case.
    pub is_identifier: bool,
    /// The SQL of its indexed prefix, if it is a long text.
    pub indexed_prefix: Option<String>,
}

/// The kind of an operand. Operands of one kind can be compared.
#[derive(Clone, Copy)]
pub enum Kind {
    /// `Edm.String` in a column of type `uuid`.
    Id,
    /// Text.
    Text,
    /// A number, `double precision`.
    Number,
    /// A Boolean.
    Boolean,
    /// `Edm.DateTimeOffset` in a column of type `timestamptz`.
    Time,
    /// A date or time in `jsonb`, in a text form that sorts chronologically.
    TextOf(Primitive),
    /// A member of an enumeration that the version has.
    Name(&'static Enumeration, Version),
    /// Members of a flags enumeration that the version has, as bits.
    Flags(&'static Enumeration, Version),
}

impl Kind {
    /// Returns the name of the type for messages.
    pub fn type_name(self) -> String {
        match self {
            Self::Id | Self::Text => "Edm.String".to_owned(),
            Self::Number => "Edm.Int32".to_owned(),
            Self::Boolean => "Edm.Boolean".to_owned(),
            Self::Time => "Edm.DateTimeOffset".to_owned(),
            Self::TextOf(primitive) => format!("Edm.{primitive:?}"),
            Self::Name(of, _) | Self::Flags(of, _) => format!("{NAMESPACE}.{}", of.name),
        }
    }

    /// Returns whether the values are texts, which are sorted by their bytes.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::TextOf(_) | Self::Name(..))
    }
}

impl Operand {
    /// Returns the SQL, which is null where the guard does not hold.
    pub fn whole(&self) -> String {
        let Self { sql, guard, .. } = self;
        guard.as_ref().map_or_else(|| sql.clone(), |guard| format!("CASE WHEN {guard} THEN {sql} END"))
    }

    /// Returns whether the operand can be null.
    pub fn can_be_null(&self) -> bool {
        self.is_nullable || self.guard.is_some()
    }

    /// Returns an operand that is never null.
    pub(super) fn plain(kind: Kind, sql: String, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            sql,
            is_nullable: false,
            guard: None,
            is_cut: false,
            is_identifier: false,
            indexed_prefix: None,
        }
    }
}

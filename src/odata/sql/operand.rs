//! A value that can be compared, as SQL.

use crate::catalogue::{Enumeration, NAMESPACE, Primitive};

/// A value that can be compared.
#[derive(Clone)]
pub struct Operand {
    /// What it is called in a message.
    pub name: String,
    /// What it can be compared with.
    pub kind: Kind,
    /// Its SQL, where `guard` holds.
    pub sql: String,
    /// Whether it may be null.
    pub is_nullable: bool,
    /// The condition without which it is null.
    pub guard: Option<String>,
    /// Whether it is a time that a column cannot have, cut to one that it can.
    pub is_cut: bool,
    /// The SQL of its beginning, where it is a text of any length.
    pub indexed_prefix: Option<String>,
}

/// What a value can be compared with.
#[derive(Clone, Copy)]
pub enum Kind {
    /// `Edm.String` in a column of type `uuid`.
    Id,
    /// A text.
    Text,
    /// A number, `double precision`.
    Number,
    /// A Boolean.
    Boolean,
    /// `Edm.DateTimeOffset` in a column of type `timestamptz`.
    Time,
    /// A date or time in `jsonb`, in a form whose texts sort as what they mean.
    TextOf(Primitive),
    /// A name of an enumeration.
    Name(&'static Enumeration),
    /// Names of an enumeration, as bits.
    Flags(&'static Enumeration),
}

impl Kind {
    /// The type, as a message names it.
    pub fn type_name(self) -> String {
        match self {
            Self::Id | Self::Text => "Edm.String".to_owned(),
            Self::Number => "Edm.Int32".to_owned(),
            Self::Boolean => "Edm.Boolean".to_owned(),
            Self::Time => "Edm.DateTimeOffset".to_owned(),
            Self::TextOf(primitive) => format!("Edm.{primitive:?}"),
            Self::Name(of) | Self::Flags(of) => format!("{NAMESPACE}.{}", of.name),
        }
    }

    /// Whether it is a text that is sorted by its bytes.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::TextOf(_) | Self::Name(_))
    }
}

impl Operand {
    /// Its SQL, null where it is not there.
    pub fn whole(&self) -> String {
        let Self { sql, guard, .. } = self;
        guard.as_ref().map_or_else(|| sql.clone(), |guard| format!("CASE WHEN {guard} THEN {sql} END"))
    }

    /// Whether it can be null at all.
    pub fn can_be_null(&self) -> bool {
        self.is_nullable || self.guard.is_some()
    }

    /// Returns an operand that is never null.
    pub(super) fn plain(kind: Kind, sql: String, name: &str) -> Self {
        Self { name: name.to_owned(), kind, sql, is_nullable: false, guard: None, is_cut: false, indexed_prefix: None }
    }
}

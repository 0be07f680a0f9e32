//! `$select`: the members that an answer shows. `@odata.type` always stays.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use super::{
    filter::{self, Segment},
    sql::{EntityTable, Instance, Parameters, PropertyColumn},
};
use crate::{
    catalogue::{NAMESPACE, NamedType, Type, version::Version},
    error::{ApiError, shorten},
};

/// The selected members.
#[derive(Clone, Debug)]
pub struct Select {
    /// The selected properties, each with the casts before it. `None` means no cast.
    items: IndexMap<String, BTreeSet<Option<String>>>,
    is_all: bool,
}

impl Select {
    /// Parses `$select`.
    ///
    /// # Errors
    /// 400 that names the property or the type that does not exist.
    pub fn parse(text: &str, table: &'static EntityTable, version: Version) -> Result<Self, ApiError> {
        let mut select = Self { items: IndexMap::new(), is_all: false };
        for item in parts(text, ',') {
            let item = item.trim();
            if item == "*" {
                select.is_all = true;
                continue;
            }
            let path = filter::path(item)?;
            let root = Instance::row(table, table.alias)?;
            let (cast, name) = match path.0.as_slice() {
                [Segment::Name(name)] => (None, name),
                [Segment::Cast(cast), Segment::Name(name)] => (Some(cast), name),
                segments => {
                    if let [Segment::Name(first), ..] = segments {
                        root.spelled(first, version)?;
                    }
                    return Err(ApiError::bad_request(format!(
                        "'{}' is a path and not a property. Select the property: the answer then has its whole value.",
                        shorten(item)
                    )));
                }
            };
            let (name, cast) = match cast {
                None => (root.spelled(name, version)?.to_owned(), None),
                Some(cast) => match root.named_type(cast, version)? {
                    NamedType::Declared(of) => {
                        let root = root.cast(cast, version, &mut Parameters::default())?;
                        (root.spelled(name, version)?.to_owned(), Some(of.name.clone()))
                    }
                    // `/beta` keeps the properties of a type that the catalogue lacks.
                    NamedType::Undeclared(of) => (root.spelled_open(name, version)?, Some(of.to_owned())),
                },
            };
            select.items.entry(name).or_default().insert(cast);
        }
        Ok(select)
    }

    /// Returns whether the property `name` of an object of type `odata_type` is selected.
    pub fn has(&self, odata_type: &str, name: &str) -> bool {
        let is_a = |cast: &String| cast == odata_type || Type::find(odata_type).is_some_and(|found| found.is_a(cast));
        let is_selected = |casts: &BTreeSet<Option<String>>| casts.iter().any(|cast| cast.as_ref().is_none_or(is_a));
        self.is_all || self.items.get(name).is_some_and(is_selected)
    }

    /// Returns whether a selected member is stored in the `jsonb` column.
    pub fn needs_properties(&self, table: &EntityTable) -> bool {
        let has_column = |name: &str| table.columns.iter().any(|(known, _)| *known == name);
        self.is_all || self.items.keys().any(|name| !has_column(name))
    }

    /// Returns the list of members in `@odata.context`. It leaves out an expanded property,
    /// which the caller adds.
    pub fn fragment(&self, table: &EntityTable, is_expanded: bool) -> String {
        let is_rows = |name: &str| {
            table.columns.iter().any(|(known, column)| *known == name && matches!(column, PropertyColumn::Rows(..)))
        };
        let items = self.items.iter().filter(|(name, _)| !(is_expanded && is_rows(name)));
        let items = items.flat_map(|(name, casts)| casts.iter().map(move |cast| (name, cast)));
        let items = items.map(|(name, cast)| match cast {
            Some(cast) => format!("{NAMESPACE}.{cast}/{name}"),
            None => name.clone(),
        });
        let all = self.is_all.then(|| "*".to_owned());
        all.into_iter().chain(items).collect::<Vec<_>>().join(",")
    }
}

/// Splits a list at the separators that are neither in quotes nor in parentheses.
pub fn parts(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut depth) = (false, 0_usize);
    text.split(move |letter| {
        match letter {
            '\'' => is_quoted = !is_quoted,
            '(' if !is_quoted => depth += 1,
            ')' if !is_quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == separator && !is_quoted && depth == 0
    })
}

//! Names of properties and types in a query, in any letter case.
//!
//! An exact match wins. A name that can be several properties is 400, and the message lists them.
//! A name that is no property is 400, and the message suggests near names.

use super::{
    table::PropertyColumn,
    values::{Instance, Place},
};
use crate::{
    catalogue::{
        self, NAMESPACE, NamedType, Property, Type, ValueType,
        spelling::{is_near_miss, suggestion},
        version::Version,
    },
    error::{ApiError, shorten},
};

impl Instance {
    /// Returns a property's name as the catalogue spells it, of this type or of a derived one.
    ///
    /// # Errors
    /// 400 for a name that is no property, and for one that can be several.
    pub fn spelled(&self, name: &str, version: Version) -> Result<&'static str, ApiError> {
        match *self.names_like(name, version) {
            [only] => Ok(only),
            [] => Err(self.unknown(name, version)),
            ref several => Err(ambiguous(name, several)),
        }
    }

    /// Returns the same for an object of a type that the catalogue lacks. A name that the base
    /// type does not have is a property of that type, and is taken as it is written.
    ///
    /// # Errors
    /// 400 for a name that is one edit away from a property of the base type.
    pub fn spelled_open(&self, name: &str, version: Version) -> Result<String, ApiError> {
        let folded = name.to_ascii_lowercase();
        let own: Vec<_> = match self.of.property(name, version) {
            Some(property) => vec![property.name.as_str()],
            None => self.of.properties_like(&folded, version).map(|like| like.name.as_str()).collect(),
        };
        let is_near = |known: &Property| is_near_miss(name, &known.name);
        match *own {
            [only] => Ok(only.to_owned()),
            [] if self.of.properties(version).any(is_near) => Err(self.unknown(name, version)),
            [] => Ok(name.to_owned()),
            ref several => Err(ambiguous(name, several)),
        }
    }

    /// Returns the property of this name, or else all whose names differ from it only by case.
    pub(super) fn names_like(&self, name: &str, version: Version) -> Vec<&'static str> {
        let of = self.of;
        if let Some(property) = of.property(name, version) {
            return vec![property.name.as_str()];
        }
        let navigation = self.navigation();
        let exact = self.types().find_map(|of| Some(of.property(name, version)?.name.as_str()));
        if let Some(exact) = exact.or_else(|| navigation.iter().copied().find(|known| *known == name)) {
            return vec![exact];
        }
        let folded = name.to_ascii_lowercase();
        let like = self.types().flat_map(|of| of.properties_like(&folded, version)).map(|like| like.name.as_str());
        let navigation = navigation.into_iter().filter(|known| known.eq_ignore_ascii_case(name));
        let mut names: Vec<_> = like.chain(navigation).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Returns this type and those that are derived from it.
    pub(super) fn types(&self) -> impl Iterator<Item = &'static Type> + use<> {
        let name = &self.of.name;
        Type::all().iter().filter(move |found| found.is_a(name))
    }

    /// Returns the names of the navigation properties that queries can follow.
    fn navigation(&self) -> Vec<&'static str> {
        let Place::Row(table, _) = &self.place else { return Vec::new() };
        let columns = table.columns.iter().filter(|(_, column)| matches!(column, PropertyColumn::Rows(..)));
        columns.map(|(name, _)| *name).collect()
    }

    /// Returns 400 for a name that is no property, with the names that are like it.
    pub(super) fn unknown(&self, name: &str, version: Version) -> ApiError {
        let meant = match self.types().find(|of| of.name.eq_ignore_ascii_case(name)) {
            Some(of) => format!(" To name the type, write '{NAMESPACE}.{}'.", of.name),
            None if self.types().any(|of| of.property(name, Version::Beta).is_some()) => {
                " Only /beta has this property.".to_owned()
            }
            None => {
                let properties = self.types().flat_map(|of| of.properties(version)).map(|known| known.name.as_str());
                match (self.path_to(name, version), suggestion(name, properties.chain(self.navigation()))) {
                    (Some(path), meant) if meant.is_empty() => format!(" Write '{path}'."),
                    (_, meant) => meant,
                }
            }
        };
        ApiError::bad_request(format!(
            "Could not find a property named '{}' on type '{NAMESPACE}.{}'.{meant}",
            shorten(name),
            self.of.name
        ))
    }

    /// Returns the path to a property of this name in an object that is a property of this type.
    fn path_to(&self, name: &str, version: Version) -> Option<String> {
        let folded = name.to_ascii_lowercase();
        self.of.properties(version).filter(|outer| !outer.is_collection).find_map(|outer| {
            let ValueType::Complex(declared) = &outer.value_type else { return None };
            let mut types = Type::all().iter().filter(|of| of.is_a(&declared.get().name));
            let inner = types.find_map(|of| of.properties_like(&folded, version).next())?;
            Some(format!("{}/{}", outer.name, inner.name))
        })
    }

    /// Returns the type that a cast or `isof` names.
    ///
    /// # Errors
    /// 400 for a type that is unknown or of another family.
    pub fn named_type<'a>(&self, name: &'a str, version: Version) -> Result<NamedType<'a>, ApiError> {
        catalogue::named_type(name, &self.of.name, version).map_err(|refusal| {
            let is_property = |first: &str| !self.names_like(first, version).is_empty();
            let remedy = match name.split_once('.') {
                Some((first, _)) if is_property(first) => {
                    format!(" Separate the segments of a path with '/': '{}'.", shorten(&name.replace('.', "/")))
                }
                _ => String::new(),
            };
            ApiError::bad_request(format!("{refusal}{remedy}"))
        })
    }
}

/// Returns 400 for a name that several properties have, but for its letter case.
pub(super) fn ambiguous(name: &str, several: &[impl AsRef<str>]) -> ApiError {
    let names: Vec<_> = several.iter().map(|name| format!("'{}'", name.as_ref())).collect();
    ApiError::bad_request(format!(
        "The name '{}' is ambiguous: it can be {}. Write one of these, with its letter case.",
        shorten(name),
        names.join(" or ")
    ))
}

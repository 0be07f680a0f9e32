//! Types that queries and paths name: in any letter case, and, where a name is wrong, with the
//! names that the client may have meant.

use super::{
    lookup::{assignable, is_misspelling, is_undeclared, unresolved, unsorted_names},
    model::{NAMESPACE, Type},
    spelling::{near, question},
    version::Version,
};
use crate::error::{ApiError, shorten};

/// A type that a query or a path names.
#[derive(Clone, Copy)]
pub enum NamedType<'a> {
    /// A type of the catalogue.
    Declared(&'static Type),
    /// A name that the catalogue lacks, without the namespace. Only `/beta` has such types.
    Undeclared(&'a str),
}

/// The family of types that is closed on `/beta`, too.
const TARGET: &str = "deviceAndAppManagementAssignmentTarget";

/// Returns the type that a query or a path names where a type of the family `expected` is due.
///
/// Letter case does not count. On `/beta` the name may be one that the catalogue lacks, and is
/// taken as it is written. It must not be a name of the catalogue with one or two letters wrong,
/// and not a target.
///
/// # Errors
/// 400 for a name that is not a type of this family. The message suggests near names.
pub fn named_type<'a>(name: &'a str, expected: &str, version: Version) -> Result<NamedType<'a>, ApiError> {
    let Some(plain) = unqualified(name) else { return Err(no_type(name, expected, version)) };
    match *like(plain, version) {
        [only] => return assignable(only, expected).map(NamedType::Declared),
        [] => {}
        ref several => {
            let names: Vec<_> = several.iter().map(|found| format!("'{NAMESPACE}.{}'", found.name)).collect();
            return Err(ApiError::model(format!(
                "The type '{}' can be {}. Write one of them in its letter case.",
                shorten(name),
                names.join(" or ")
            )));
        }
    }
    // A body cannot have a target that the catalogue lacks, so no row has one.
    let is_open = version == Version::Beta && !Type::find(expected).is_some_and(|of| of.is_a(TARGET));
    match is_open && is_undeclared(plain) && !is_misspelling(plain) {
        true => Ok(NamedType::Undeclared(plain)),
        false => Err(no_type(name, expected, version)),
    }
}

/// Returns the qualified name of a type as the catalogue spells it, or the name as it is
/// written when it is not one of the catalogue.
pub fn spelled(name: &str) -> String {
    let Some(plain) = unqualified(name) else { return name.to_owned() };
    match *like(plain, Version::Beta) {
        [only] => format!("{NAMESPACE}.{}", only.name),
        _ => format!("{NAMESPACE}.{plain}"),
    }
}

/// Returns the type of this name, or else all types whose names differ from it only by case.
fn like(plain: &str, version: Version) -> Vec<&'static Type> {
    let mut found = Type::find(plain).map_or_else(|| Type::like(plain), |exact| vec![exact]);
    found.retain(|found| found.is_in(version));
    found
}

/// Returns a name without the namespace and a leading `#`, or `None` for a name outside it.
fn unqualified(name: &str) -> Option<&str> {
    let name = name.strip_prefix('#').unwrap_or(name);
    let (namespace, plain) = (name.get(..NAMESPACE.len())?, &name[NAMESPACE.len()..]);
    plain.strip_prefix('.').filter(|_| namespace.eq_ignore_ascii_case(NAMESPACE))
}

/// Returns 400 for a name that is no type, with the spelling that was meant.
fn no_type(name: &str, expected: &str, version: Version) -> ApiError {
    let plain = name.strip_prefix('#').unwrap_or(name);
    let last = plain.rsplit('.').next().unwrap_or(plain);
    let of_family = || Type::all().iter().filter(|found| found.is_in(version) && found.is_a(expected));
    let meant = match *like(last, version) {
        [only] => format!(" Write '{NAMESPACE}.{}'.", only.name),
        _ => {
            let mut names = near(last, of_family().map(|found| found.name.as_str()));
            if names.is_empty() {
                names = near(last, unsorted_names());
            }
            question(names.into_iter().map(|name| format!("{NAMESPACE}.{name}")))
        }
    };
    unresolved(plain, &meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURATION: &str = "deviceConfiguration";

    fn named(name: &str, version: Version) -> Result<String, String> {
        match named_type(name, CONFIGURATION, version) {
            Ok(NamedType::Declared(of)) => Ok(of.name.clone()),
            Ok(NamedType::Undeclared(name)) => Ok(format!("undeclared {name}")),
            Err(refusal) => Err(refusal.to_string()),
        }
    }

    #[test]
    fn letter_case_does_not_count_in_the_name_of_a_type() {
        for name in [
            "microsoft.graph.iosCustomConfiguration",
            "#microsoft.graph.iosCustomConfiguration",
            "microsoft.graph.IOSCUSTOMCONFIGURATION",
            "Microsoft.Graph.IosCustomConfiguration",
        ] {
            for version in [Version::V1, Version::Beta] {
                assert_eq!(named(name, version).as_deref(), Ok("iosCustomConfiguration"), "{name}");
            }
            assert_eq!(spelled(name), "microsoft.graph.iosCustomConfiguration");
        }
        assert_eq!(spelled("Microsoft.Graph.Unknown"), "microsoft.graph.Unknown");
    }

    #[test]
    fn a_type_that_is_not_near_a_known_one_is_open_on_beta() {
        for name in ["unsupportedDeviceConfiguration", "windowsKioskConfiguration", "iosUnknown"] {
            let qualified = format!("microsoft.graph.{name}");
            assert_eq!(named(&qualified, Version::Beta), Ok(format!("undeclared {name}")));
            assert!(named(&qualified, Version::V1).is_err());
        }
    }

    #[test]
    fn a_near_miss_is_refused_with_what_was_meant() {
        for (name, meant) in [
            ("microsoft.graph.iosCustomConfigurations", " Did you mean 'microsoft.graph.iosCustomConfiguration'"),
            ("microsoft.graph.iosCustmoConfiguration", " Did you mean 'microsoft.graph.iosCustomConfiguration'"),
            ("microsoft.graph.IOSCUSTOMCONFIGURATIO", " Did you mean 'microsoft.graph.iosCustomConfiguration'"),
            ("iosCustomConfiguration", " Write 'microsoft.graph.iosCustomConfiguration'."),
            ("#ioscustomconfiguration", " Write 'microsoft.graph.iosCustomConfiguration'."),
            ("graph.iosCustomConfiguration", " Write 'microsoft.graph.iosCustomConfiguration'."),
            ("microsoft.graphs.iosCustomConfiguration", " Write 'microsoft.graph.iosCustomConfiguration'."),
            ("microsoft.graph.asign", " Did you mean 'microsoft.graph.assign'"),
            ("something", " When a model is available, each type name must resolve to a valid type."),
            ("ünknöwn", " When a model is available, each type name must resolve to a valid type."),
            ("microsoft.graph.", " When a model is available, each type name must resolve to a valid type."),
        ] {
            for version in [Version::V1, Version::Beta] {
                let refusal = named(name, version).expect_err(name);
                assert!(refusal.contains(meant), "{name}: {refusal}");
            }
        }
        let other = named("microsoft.graph.OmaSetting", Version::Beta).expect_err("another family");
        assert!(other.contains("'microsoft.graph.omaSetting' was found, but it is not assignable"), "{other}");
    }
}

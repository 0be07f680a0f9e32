//! Types that queries and paths name: in any letter case, and, where a name is wrong, with the
//! names that the client may have meant.

use super::{
    lookup::{
        assignable, elsewhere, is_elsewhere, is_misspelling, is_undeclared, unknown_type_remedy, unresolved,
        unsorted_names,
    },
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
    /// A name that the catalogue lacks, without the namespace. Only [`Version::OpenBeta`] has such
    /// types.
    Undeclared(&'a str),
}

/// The family of types that is closed on `/beta`, too.
const TARGET: &str = "deviceAndAppManagementAssignmentTarget";

/// Returns the type that a query or a path names where a type of the family `expected` is needed.
///
/// Letter case does not count. Where unknown types are accepted, the name may be one that the
/// catalogue lacks, and is taken as it is written. It must not be a name of the catalogue with
/// one or two letters wrong, and not a target.
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
                "The type '{}' is ambiguous: it can be {}. Write one of these, with its letter case.",
                shorten(name),
                names.join(" or ")
            )));
        }
    }
    // A body cannot have a target that the catalogue lacks, so no row has one.
    let is_open = version == Version::OpenBeta && can_be_open(expected);
    match is_undeclared(plain) && !is_misspelling(plain) {
        true if is_elsewhere(plain, expected) => Err(elsewhere(plain, expected)),
        true if is_open => Ok(NamedType::Undeclared(plain)),
        _ => Err(no_type(name, expected, version)),
    }
}

fn can_be_open(expected: &str) -> bool {
    !Type::find(expected).is_some_and(|of| of.is_a(TARGET))
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
        [] if !like(last, Version::Beta).is_empty() => " Only /beta has it.".to_owned(),
        _ => {
            let mut names = near(last, of_family().map(|found| found.name.as_str()));
            if names.is_empty() {
                names = near(last, unsorted_names());
            }
            question(names.into_iter().map(|name| format!("{NAMESPACE}.{name}")))
        }
    };
    let setting = match unqualified(name) {
        Some(name) if is_undeclared(name) && can_be_open(expected) => unknown_type_remedy(name, version),
        _ => "",
    };
    unresolved(plain, &(meant + setting))
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
    fn an_unknown_type_is_accepted_only_where_the_setting_says_so() {
        for name in ["unsupportedFutureConfiguration", "windowsFutureConfiguration", "iosUnknown"] {
            let qualified = format!("microsoft.graph.{name}");
            assert_eq!(named(&qualified, Version::OpenBeta), Ok(format!("undeclared {name}")));
            assert!(named(&qualified, Version::V1).expect_err(name).ends_with("to a valid type."));
            let refusal = named(&qualified, Version::Beta).expect_err(name);
            assert!(
                refusal.ends_with(" If Graph has this type, set catalogue.unknown_types to 'accept'."),
                "{refusal}"
            );
        }
    }

    #[test]
    fn a_type_of_beta_is_no_type_of_v1() {
        let name = "microsoft.graph.WindowsKioskConfiguration";
        assert_eq!(named(name, Version::Beta).as_deref(), Ok("windowsKioskConfiguration"));
        assert!(named(name, Version::V1).expect_err(name).ends_with("to a valid type. Only /beta has it."));
    }

    #[test]
    fn a_type_of_another_family_is_refused_everywhere() {
        for (name, family) in [("windows10CompliancePolicy", "a compliance policy"), ("user", "a user")] {
            for version in [Version::V1, Version::Beta, Version::OpenBeta] {
                let refusal = named(&format!("microsoft.graph.{name}"), version).expect_err(name);
                assert!(
                    refusal.contains("is not assignable to the expected type 'microsoft.graph.deviceConfiguration'")
                );
                assert!(
                    refusal.ends_with(&format!(" It is {family}, which this service does not store.")),
                    "{refusal}"
                );
            }
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
            for version in [Version::V1, Version::Beta, Version::OpenBeta] {
                let refusal = named(name, version).expect_err(name);
                assert!(refusal.contains(meant), "{name}: {refusal}");
            }
        }
        let other = named("microsoft.graph.OmaSetting", Version::Beta).expect_err("another family");
        assert!(other.contains("'microsoft.graph.omaSetting' was found, but it is not assignable"), "{other}");
    }
}

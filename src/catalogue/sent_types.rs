//! Types that bodies name. Their names are case-sensitive.

use super::{
    lookup::{elsewhere, is_elsewhere, is_misspelling, resolve, undeclared, unknown_type_remedy, unresolved},
    model::{NAMESPACE, Type},
    spelling,
    version::Version,
};
use crate::error::{ApiError, shorten};

/// The type that an `@odata.type` in a body names.
pub enum SentType<'a> {
    /// A type of the catalogue.
    Known(&'static Type),
    /// The name of a type of Graph that the catalogue lacks. Only [`Version::OpenBeta`] takes it.
    Undeclared(&'a str),
}

/// Reads the `@odata.type` of an entity, where a type that is derived from `expected` is needed.
///
/// # Errors
/// 400 for a type that does not exist or is of another family. Where unknown types are accepted,
/// also for a name that is one of the catalogue with one or two letters wrong: no query could
/// name the type. The message says what to write.
pub fn of_entity<'a>(odata_type: &'a str, expected: &str, version: Version) -> Result<SentType<'a>, ApiError> {
    match read(odata_type, expected, version)? {
        SentType::Undeclared(name) if is_misspelling(name) => Err(no_type(odata_type, expected, version)),
        found => Ok(found),
    }
}

/// Reads the `@odata.type` of a value, where a type that is derived from `expected` is needed.
/// A body can hold a hundred thousand values, so only one wrong letter is looked for.
///
/// # Errors
/// 400 for a type that does not exist or is of another family. Where unknown types are accepted,
/// also for a near miss of a known one. The message says what to write.
pub fn read<'a>(odata_type: &'a str, expected: &str, version: Version) -> Result<SentType<'a>, ApiError> {
    if Type::named(odata_type).is_some_and(|of| of.is_in(version)) {
        return resolve(odata_type, expected).map(SentType::Known);
    }
    match undeclared(odata_type) {
        Some(name) if near_miss(name).is_some() => Err(no_type(odata_type, expected, version)),
        Some(name) if is_elsewhere(name, expected) => Err(elsewhere(name, expected)),
        Some(name) if version == Version::OpenBeta => Ok(SentType::Undeclared(name)),
        _ => Err(no_type(odata_type, expected, version)),
    }
}

/// Reads an `@odata.type` where only types of the catalogue are possible.
///
/// # Errors
/// 400 for any other type. The message says what to write.
pub fn known(odata_type: &str, expected: &str) -> Result<&'static Type, ApiError> {
    match Type::named(odata_type) {
        Some(_) => resolve(odata_type, expected),
        None => Err(no_type(odata_type, expected, Version::OpenBeta)),
    }
}

/// Checks an `@odata.type` in a value whose type the catalogue does not know.
///
/// # Errors
/// 400 for a near miss of a known type.
pub fn check_undeclared(odata_type: &str) -> Result<(), ApiError> {
    match undeclared(odata_type).and_then(near_miss) {
        Some(known) => Err(ApiError::model(format!(
            "The type '{}' is misspelt. Write '#{NAMESPACE}.{known}'.",
            shorten(odata_type)
        ))),
        None => Ok(()),
    }
}

fn near_miss(name: &str) -> Option<&'static str> {
    spelling::near_miss(name, Type::all().iter().map(|of| of.name.as_str()))
}

/// Returns the 400 for a name that is no type.
fn no_type(odata_type: &str, expected: &str, version: Version) -> ApiError {
    if version == Version::V1 && Type::named(odata_type).is_some() {
        return unresolved(odata_type, " Only /beta has it.");
    }
    let mut remedy = remedy(odata_type, expected, version);
    if let Some(name) = undeclared(odata_type) {
        remedy += unknown_type_remedy(name, version);
    }
    unresolved(odata_type, &remedy)
}

/// Returns a sentence that says what to write instead, with a space before it.
fn remedy(odata_type: &str, expected: &str, version: Version) -> String {
    let name = odata_type.rsplit(['.', '#']).next().unwrap_or_default();
    let qualified = |name: &str| format!("#{NAMESPACE}.{name}");
    if name.len() > MAX_NAME_BYTES {
        return String::new();
    }
    if let Some(known) = Type::find(name).map(|of| of.name.as_str()).or_else(|| near_miss(name)) {
        return format!(" Write '{}'.", qualified(known));
    }
    let fitting = Type::all().iter().filter(|of| of.is_in(version) && of.is_a(expected) && !of.is_abstract);
    let near = spelling::near(name, fitting.map(|of| of.name.as_str()));
    match near.is_empty() && undeclared(&qualified(name)).is_some() && !odata_type.contains('.') {
        true => format!(" Write the type with its namespace: '{}'.", qualified(name)),
        false => {
            let near: Vec<_> = near.into_iter().map(qualified).collect();
            spelling::question(&near)
        }
    }
}

/// A longer name is like no known one.
const MAX_NAME_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(odata_type: &str, version: Version) -> String {
        match read(odata_type, "deviceConfiguration", version) {
            Ok(_) => panic!("{odata_type} is a type"),
            Err(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn a_refused_type_says_what_to_write() {
        for (odata_type, remedy) in [
            ("iosUpdateConfiguration", "Write '#microsoft.graph.iosUpdateConfiguration'."),
            ("#iosUpdateConfiguration", "Write '#microsoft.graph.iosUpdateConfiguration'."),
            ("Microsoft.Graph.iosUpdateConfiguration", "Write '#microsoft.graph.iosUpdateConfiguration'."),
            ("#microsoft.graph.iosUpdatesConfiguration", "Write '#microsoft.graph.iosUpdateConfiguration'."),
            ("#microsoft.graph.IosUpdateConfiguration", "Write '#microsoft.graph.iosUpdateConfiguration'."),
            ("#microsoft.graph.iosUpdatConfigurations", "Did you mean '#microsoft.graph.iosUpdateConfiguration'"),
            ("windowsKioskSetting", "Write the type with its namespace: '#microsoft.graph.windowsKioskSetting'."),
        ] {
            let refused = refusal(odata_type, Version::V1);
            assert!(refused.contains("could not be resolved by the model.") && refused.contains(remedy), "{refused}");
        }
        assert!(refusal("#microsoft.graph.nothing", Version::V1).ends_with("to a valid type."));
    }

    #[test]
    fn a_near_miss_of_a_known_type_is_no_type_of_beta() {
        for name in ["Windows10CustomConfiguration", "windows10CustomConfigurations", "omaSettingstring"] {
            assert!(!refusal(&format!("#microsoft.graph.{name}"), Version::OpenBeta).contains("unknown_types"));
            assert!(check_undeclared(&format!("#microsoft.graph.{name}")).is_err(), "{name}");
        }
        assert!(read("#microsoft.graph.windowsFutureConfiguration", "deviceConfiguration", Version::OpenBeta).is_ok());
        assert!(check_undeclared("#Collection(String)").is_ok());
    }

    #[test]
    fn an_entity_has_no_type_that_a_query_could_not_name() {
        for name in ["iosUpdatConfigurations", "windows1CustomConfiguraton", "asigns"] {
            let odata_type = format!("#microsoft.graph.{name}");
            assert!(read(&odata_type, "deviceConfiguration", Version::OpenBeta).is_ok(), "{name}");
            assert!(of_entity(&odata_type, "deviceConfiguration", Version::OpenBeta).is_err(), "{name}");
        }
        let unknown = "#microsoft.graph.windowsFutureConfiguration";
        assert!(of_entity(unknown, "deviceConfiguration", Version::OpenBeta).is_ok());
        for version in [Version::V1, Version::Beta] {
            assert!(of_entity(unknown, "deviceConfiguration", version).is_err());
        }
    }

    /// Graph has names that are near misses of each other, such as `iPv4Range` and `iPv6Range`.
    #[test]
    fn a_known_name_is_never_taken_for_a_near_miss() {
        for of in Type::all() {
            let odata_type = format!("#microsoft.graph.{}", of.name);
            let found = read(&odata_type, &of.name, Version::Beta);
            assert!(matches!(found, Ok(SentType::Known(found)) if found.name == of.name), "{}", of.name);
        }
    }
}

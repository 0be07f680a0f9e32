//! The query options of a request line.
//!
//! A system query option works, or the service refuses it by its name, with and without `$`. If
//! the service ignored an option, a client could get all rows although it asked for some.
//! Custom options are ignored, as OData requires.
//!
//! <https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part2-url-conventions.html#sec_QueryOptions>

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, web};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    catalogue::spelling::suggestion,
    error::{ApiError, shorten},
};

/// OData's system query options, without their `$`.
pub const SYSTEM: [&str; 17] = [
    "apply",
    "compute",
    "count",
    "deltatoken",
    "expand",
    "filter",
    "format",
    "id",
    "index",
    "levels",
    "orderby",
    "schemaversion",
    "search",
    "select",
    "skip",
    "skiptoken",
    "top",
];

/// The options of a collection of configurations.
pub const OF_COLLECTION: &[&str] = &["count", "expand", "filter", "orderby", "select", "skip", "skiptoken", "top"];
/// The options of a collection without navigation properties.
pub const OF_LEAVES: &[&str] = &["count", "filter", "orderby", "select", "skip", "skiptoken", "top"];
/// The options of a collection of entity references.
pub const OF_REFERENCES: &[&str] = &["count", "filter", "orderby", "skip", "skiptoken", "top"];
/// The options of one configuration.
pub const OF_ENTITY: &[&str] = &["expand", "select"];
/// The options of one row without navigation properties.
pub const OF_LEAF: &[&str] = &["select"];
/// The options of a count.
pub const OF_COUNT: &[&str] = &["filter"];
/// The options of `$metadata`.
pub const OF_METADATA: &[&str] = &["format"];
/// The options of all other routes.
pub const NONE: &[&str] = &[];

/// The query options of a request, decoded, in the order of the URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    system: Vec<(&'static str, String)>,
    custom: Vec<(String, String)>,
}

impl Options {
    /// Reads the query of a URL.
    ///
    /// # Errors
    /// 400 for a query that cannot be parsed, for an unknown option that begins with `$`, for an
    /// option that appears twice, and for a name with a space in it.
    pub fn parse(query: &str) -> Result<Self, ApiError> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(query).map_err(|_| {
            ApiError::bad_request("The query of the URL does not consist of name=value pairs. Correct it.")
        })?;
        let pairs = pairs.into_inner().into_iter().filter(|(name, _)| !name.is_empty());
        let mut options = Self::default();
        for (name, value) in pairs {
            let plain = name.strip_prefix('$').unwrap_or(&name);
            match SYSTEM.into_iter().find(|system| system.eq_ignore_ascii_case(plain)) {
                Some(system) => options.add(system, value)?,
                None if name.starts_with('$') => {
                    let meant = suggestion(&name, SYSTEM.map(|system| format!("${system}")).iter().map(String::as_str));
                    return Err(refused(&name, if meant.is_empty() { " Leave it out." } else { &meant }));
                }
                None if name.contains(char::is_whitespace) => return Err(broken(&name)),
                None => options.custom.push((name, value)),
            }
        }
        Ok(options)
    }

    /// Adds a system query option.
    ///
    /// # Errors
    /// 400 when the option is already present.
    pub fn add(&mut self, name: &'static str, value: String) -> Result<(), ApiError> {
        if self.get(name).is_some() {
            return Err(ApiError::bad_request(format!("The query option '${name}' appears twice. Send it once.")));
        }
        self.system.push((name, value));
        Ok(())
    }

    /// Returns whether there is no system query option.
    pub fn is_empty(&self) -> bool {
        self.system.is_empty()
    }

    /// Returns the value of a system query option.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.system.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the value of a parameter alias, whose name begins with `@`.
    pub fn alias(&self, name: &str) -> Option<&str> {
        self.custom.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Checks that every option is in `supported`. With `strict`, refuses custom options, too.
    ///
    /// # Errors
    /// 400 that names the first unsupported option.
    pub fn check(&self, supported: &[&str], strict: bool) -> Result<(), ApiError> {
        if let Some((name, _)) = self.system.iter().find(|(name, _)| !supported.contains(name)) {
            let names: Vec<_> = supported.iter().map(|name| format!("${name}")).collect();
            let remedy = match names.split_last() {
                None => " This path supports no query options.".to_owned(),
                Some((only, [])) => format!(" This path supports only {only}."),
                Some((last, others)) => format!(" This path supports {} and {last}.", others.join(", ")),
            };
            return Err(refused(&format!("${name}"), &remedy));
        }
        // A parameter alias is part of the path that names it.
        match self.custom.iter().find(|(name, _)| !name.starts_with('@')) {
            Some((name, _)) if strict => Err(ApiError::bad_request(format!(
                "The query option '{}' is unknown, and 'Prefer: handling=strict' forbids unknown options. Leave out the option or the preference.",
                shorten(name),
            ))),
            _ => Ok(()),
        }
    }

    /// Returns the system query options that define the query, without those that position a
    /// page.
    pub fn without_position(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let system = self.system.iter().map(|(name, value)| (*name, value.as_str()));
        system.filter(|(name, _)| !["skip", "skiptoken"].contains(name))
    }

    /// Returns the query of the URL of the next page, which begins at `token`.
    pub fn next(&self, token: &str) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
        let system = self.without_position().map(|(name, value)| format!("${name}={}", encoded(value)));
        let custom = self.custom.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        let all = custom.chain(system).chain([format!("$skiptoken={token}")]);
        all.collect::<Vec<_>>().join("&")
    }
}

/// The characters that are percent-encoded: those with a meaning in a query, and all that are
/// not ASCII letters or digits.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'$')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b'*');

fn refused(name: &str, remedy: &str) -> ApiError {
    ApiError::bad_request(format!("The query option '{}' is not supported here.{remedy}", shorten(name)))
}

/// Returns 400 for the rest of a value that an unencoded `&` has ended.
fn broken(name: &str) -> ApiError {
    ApiError::bad_request(format!(
        "The query option '{}' has a space in its name. An unencoded '&' begins a new option. Write 'and' instead of '&' in '$filter', and '%26' for '&' inside a text.",
        shorten(name.trim()),
    ))
}

impl FromRequest for Options {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    /// Returns the options that [`super::url::check`] has parsed.
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(request.extensions().get::<Self>().cloned().unwrap_or_default()))
    }
}

//! The check that every request line passes before it is routed.
//!
//! No system query option is supported yet, so each is refused by name, with
//! or without its `$`: an option that is ignored in silence gives a client all
//! rows where it asked for some. Custom options are ignored, as OData has it.
//!
//! <https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part2-url-conventions.html#sec_QueryOptions>

use actix_web::{
    Error,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::Uri,
    middleware::Next,
    web::Query,
};

use super::prefer::Preferences;
use crate::error::{ApiError, excerpt};

/// OData's system query options, without their `$`.
const SYSTEM_OPTIONS: [&str; 17] = [
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

/// Answers 400 for a request line that cannot be read or asks for what is not there.
///
/// # Errors
/// None of its own: a refusal is a response.
pub async fn check(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let strict = Preferences::of(request.headers()).strict;
    match percent_encoding(request.uri()).and_then(|()| query_options(request.query_string(), strict)) {
        Ok(()) => Ok(next.call(request).await?.map_into_boxed_body()),
        Err(refusal) => Ok(request.error_response(refusal)),
    }
}

fn percent_encoding(uri: &Uri) -> Result<(), ApiError> {
    for (part, text) in [("path", uri.path()), ("query", uri.query().unwrap_or_default())] {
        let bad = text.split('%').skip(1).any(|rest| {
            let digits = rest.as_bytes().get(..2);
            !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        });
        if bad || percent_encoding::percent_decode_str(text).decode_utf8().is_err() {
            return Err(ApiError::bad_request(format!(
                "The {part} of the URL is not UTF-8 in percent-encoding. Write '%' itself as '%25'."
            )));
        }
    }
    Ok(())
}

fn query_options(query: &str, strict: bool) -> Result<(), ApiError> {
    let options = Query::<Vec<(String, String)>>::from_query(query)
        .map_err(|_| ApiError::bad_request("The query of the URL cannot be read as name=value pairs."))?;
    for (name, _) in options.iter().filter(|(name, _)| !name.is_empty()) {
        let plain = name.strip_prefix('$').unwrap_or(name).to_ascii_lowercase();
        if name.starts_with('$') || SYSTEM_OPTIONS.contains(&plain.as_str()) {
            return Err(ApiError::bad_request(format!(
                "The query option '{}' is not supported here. Leave it out, and the answer holds everything.",
                excerpt(name),
            )));
        }
        if strict {
            return Err(ApiError::bad_request(format!(
                "The query option '{}' is unknown, and 'Prefer: handling=strict' asks that it is not ignored. Leave out one of the two.",
                excerpt(name),
            )));
        }
    }
    Ok(())
}

//! The target of a step: resolves its URL.

use actix_web::http::Uri;
use url::Url;

use super::steps::Step;
use crate::{
    catalogue::version::{MOUNTS, Version},
    error::{ApiError, shorten},
};

/// The resources of OData that begin with `$`. They are not references to steps.
///
/// <https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part2-url-conventions.html#sec_ResourcePath>
const ODATA_RESOURCES: [&str; 7] = ["all", "batch", "crossjoin", "entity", "id", "metadata", "root"];

/// Returns the earlier step that `$id` at the start of the URL names, and the rest of the URL.
///
/// # Errors
/// When `dependsOn` does not name that step.
pub fn reference<'a>(step: &'a Step, before: &[Step]) -> Result<Option<(usize, &'a str)>, ApiError> {
    let Some(text) = step.url.trim_start_matches('/').strip_prefix('$') else { return Ok(None) };
    let (id, rest) = text.split_at(text.find(['/', '?']).unwrap_or(text.len()));
    if ODATA_RESOURCES.iter().any(|name| name.eq_ignore_ascii_case(id)) {
        return Ok(None);
    }
    let Some(place) = before.iter().position(|other| other.id.eq_ignore_ascii_case(id)) else { return Ok(None) };
    match step.depends_on.contains(&place) {
        true => Ok(Some((place, rest))),
        false => Err(ApiError::bad_request(format!(
            "The url refers to the answer to the request '{}'. Add that id to 'dependsOn'.",
            shorten(id)
        ))),
    }
}

/// Returns the path and the query of a URL. The host of an absolute URL is ignored. A relative
/// URL without a version gets the version of the batch.
///
/// # Errors
/// When the text is not a URL.
pub fn resolve(text: &str, version: Version) -> Result<Uri, ApiError> {
    let unreadable = || ApiError::bad_request(format!("The url '{}' is not a valid URL. Correct it.", shorten(text)));
    let is_of = |scheme: &&str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let has_origin = ["http://", "https://"].iter().any(is_of);
    let url = match has_origin {
        true => Url::parse(text),
        false => Url::parse(&format!("http://batch/{}", text.trim_start_matches('/'))),
    };
    let url = url.map_err(|_| unreadable())?;
    let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
    let version = match has_origin || is_versioned(url.path()) {
        true => String::new(),
        false => format!("/{}", version.segment()),
    };
    format!("{version}{}{query}", url.path()).parse().map_err(|_| unreadable())
}

/// Returns whether a path begins with a version, case-insensitively.
fn is_versioned(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    MOUNTS.iter().filter_map(|(mount, _)| mount.strip_prefix('/')).any(|mount| mount.eq_ignore_ascii_case(first))
}

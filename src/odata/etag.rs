//! `If-Match` and `If-None-Match`: conditional requests.
//!
//! An ETag is weak, because a resource has several representations. ETags are compared as
//! opaque strings, as OData requires. By RFC 9110, a weak ETag would never match.
//!
//! <https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part1-protocol.html#sec_UseofETagsforAvoidingUpdateConflicts>

use std::{
    fmt,
    future::{Ready, ready},
};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::Payload,
    http::header::{ETAG, EntityTag, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH},
};

use super::prefer::split_unquoted;
use crate::error::{ApiError, shorten};

/// The ETag of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    /// Returns the weak ETag with the opaque value `of`, which may hold letters, digits, `-`,
    /// `_` and `.`.
    pub fn new(of: impl fmt::Display) -> Self {
        Self(format!(r#"W/"{of}""#))
    }

    /// Returns the value of the `ETag` header.
    pub fn value(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }

    /// Adds the `ETag` header to a response.
    pub fn on(&self, mut response: HttpResponse) -> HttpResponse {
        if let Some(value) = self.value() {
            response.headers_mut().insert(ETAG, value);
        }
        response
    }

    /// Returns the 412 for a request whose condition this ETag does not meet.
    fn precondition_failed(&self) -> ApiError {
        let message = format!(
            "A precondition of the request does not match: the current ETag is {self}. Read the resource again. If the change is still right, send it with this ETag."
        );
        ApiError::precondition_failed(message, self.value())
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The conditions of a request.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    matches: Option<Tags>,
    matches_none: Option<Tags>,
}

#[derive(Clone, Debug)]
enum Tags {
    /// `*` matches every existing resource.
    Any,
    These(Vec<String>),
}

impl Tags {
    fn has(&self, etag: &ETag) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.contains(&etag.0),
        }
    }

    fn read(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, ApiError> {
        let mut tags = Vec::new();
        let mut lines = headers.get_all(name).peekable();
        if lines.peek().is_none() {
            return Ok(None);
        }
        for line in lines {
            let line = line.to_str().unwrap_or("?");
            if line.trim() == "*" {
                return Ok(Some(Self::Any));
            }
            for tag in split_unquoted(line, ',').map(str::trim) {
                let tag = tag.parse::<EntityTag>().map_err(|_| {
                    ApiError::bad_request(format!(
                        "The header {name} has '{}', which is neither * nor an ETag in quotes. Send the ETag of an answer, for example W/\"1\".",
                        shorten(tag)
                    ))
                })?;
                tags.push(tag.to_string());
            }
        }
        Ok(Some(Self::These(tags)))
    }
}

impl Conditions {
    /// # Errors
    /// 400 for a value that is not an ETag.
    pub fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        Ok(Self { matches: Tags::read(headers, &IF_MATCH)?, matches_none: Tags::read(headers, &IF_NONE_MATCH)? })
    }

    /// Returns whether the request has no condition.
    pub fn is_empty(&self) -> bool {
        self.matches.is_none() && self.matches_none.is_none()
    }

    /// Checks the conditions of a change. The caller has locked the resource, whose current
    /// ETag is `current`.
    ///
    /// # Errors
    /// 412 with the current ETag when a condition does not hold.
    pub fn check(&self, current: &ETag) -> Result<(), ApiError> {
        let is_met = self.matches.as_ref().is_none_or(|tags| tags.has(current))
            && !self.matches_none.as_ref().is_some_and(|tags| tags.has(current));
        if is_met { Ok(()) } else { Err(current.precondition_failed()) }
    }

    /// Returns the 304 of a read when the client already has the current version of the
    /// resource.
    ///
    /// # Errors
    /// 412 when `If-Match` names only other versions.
    pub fn unchanged(&self, current: &ETag) -> Result<Option<HttpResponse>, ApiError> {
        if self.matches.as_ref().is_some_and(|tags| !tags.has(current)) {
            return Err(current.precondition_failed());
        }
        let is_known = self.matches_none.as_ref().is_some_and(|tags| tags.has(current));
        Ok(is_known.then(|| current.on(HttpResponse::NotModified().finish())))
    }

    /// Checks the conditions of a request to a resource without an ETag. No ETag matches such a
    /// resource.
    ///
    /// # Errors
    /// 412 for a condition that the service would otherwise have to ignore.
    pub fn check_untagged(&self, is_read: bool) -> Result<(), ApiError> {
        let wants_one = matches!(self.matches, Some(Tags::These(_)));
        let wants_nothing = !is_read && matches!(self.matches_none, Some(Tags::Any));
        match (wants_one, wants_nothing) {
            (true, _) => Err(ApiError::untagged(&IF_MATCH)),
            (_, true) => Err(ApiError::untagged(&IF_NONE_MATCH)),
            _ => Ok(()),
        }
    }
}

impl FromRequest for Conditions {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request.headers()))
    }
}

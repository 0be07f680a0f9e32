//! `If-Match` and `If-None-Match`: a request that is only carried out while a
//! resource is what the client knows, or is not.
//!
//! An ETag is weak, since one resource has several forms, and is compared as an
//! opaque string, as OData asks; RFC 9110 would have no weak one match.
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

/// What a resource is at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    /// `of` may hold letters, digits, `-`, `_` and `.`.
    pub fn new(of: impl fmt::Display) -> Self {
        Self(format!(r#"W/"{of}""#))
    }

    /// As a header has it.
    pub fn value(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }

    /// Says in an answer what the resource is.
    pub fn on(&self, mut response: HttpResponse) -> HttpResponse {
        if let Some(value) = self.value() {
            response.headers_mut().insert(ETAG, value);
        }
        response
    }

    /// 412 for a request that depends on another version of the resource than this one.
    fn precondition_failed(&self) -> ApiError {
        let message = format!(
            "A precondition of the request does not match: the resource is {self} now. Read it again, and send the change with this ETag if it is still wanted."
        );
        ApiError::precondition_failed(message, self.value())
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a request makes itself depend on.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    matches: Option<Tags>,
    matches_none: Option<Tags>,
}

#[derive(Clone, Debug)]
enum Tags {
    /// `*`: whatever the resource is, as long as it is there.
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
                        "The header {name} has '{}', which is neither * nor an ETag in quotes. Send what an answer had as its ETag, for example W/\"1\".",
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
    /// 400 for what is no ETag.
    pub fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        Ok(Self { matches: Tags::read(headers, &IF_MATCH)?, matches_none: Tags::read(headers, &IF_NONE_MATCH)? })
    }

    /// Whether the request depends on nothing.
    pub fn is_empty(&self) -> bool {
        self.matches.is_none() && self.matches_none.is_none()
    }

    /// For a change of a resource that is `now` this, and held.
    ///
    /// # Errors
    /// 412 with the current ETag when a condition does not hold.
    pub fn check(&self, current: &ETag) -> Result<(), ApiError> {
        let is_met = self.matches.as_ref().is_none_or(|tags| tags.has(current))
            && !self.matches_none.as_ref().is_some_and(|tags| tags.has(current));
        if is_met { Ok(()) } else { Err(current.precondition_failed()) }
    }

    /// Returns the 304 of a read when the client has the resource as it is `now`.
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

    /// For a resource without an ETag: none matches it.
    ///
    /// # Errors
    /// 412 for a request that would have to be ignored otherwise.
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

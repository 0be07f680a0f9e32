//! The `Prefer` header (RFC 7240).

use std::future::{Ready, ready};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::Payload,
    http::header::{HeaderMap, HeaderName, LOCATION},
};
use serde::Serialize;

use crate::{catalogue::version::Version, error::ApiError};

/// The request header.
pub const PREFER: HeaderName = HeaderName::from_static("prefer");
/// The response header that names the applied preference.
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The answer to a change that a client prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// Nothing.
    Minimal,
    /// The entity.
    Representation,
}

/// The preferences of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    /// `return=minimal`: a change is answered without a body. `return=representation`: a change
    /// is answered with the entity.
    pub returns: Option<Return>,
    /// `odata.maxpagesize`: the maximum number of rows of a page.
    pub max_page_size: Option<u32>,
    /// `handling=strict`: the service refuses what it would otherwise ignore.
    pub strict: bool,
}

impl Preferences {
    /// Reads every `Prefer` header. If a preference is repeated, the first counts.
    pub fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(PREFER).filter_map(|line| line.to_str().ok());
        let items =
            lines.flat_map(|line| split_unquoted(line, ',')).filter_map(|item| split_unquoted(item, ';').next());
        let (mut returns, mut handling, mut max_page_size) = (None, None, None);
        for (name, value) in items.filter_map(|item| item.split_once('=')) {
            let value = value.trim().trim_matches('"').to_ascii_lowercase();
            match name.trim().to_ascii_lowercase().as_str() {
                "return" => returns = returns.or(Some(value)),
                "handling" => handling = handling.or(Some(value)),
                "odata.maxpagesize" | "maxpagesize" => max_page_size = max_page_size.or(Some(value)),
                _ => {}
            }
        }
        Self {
            returns: match returns.as_deref() {
                Some("minimal") => Some(Return::Minimal),
                Some("representation") => Some(Return::Representation),
                _ => None,
            },
            max_page_size: max_page_size.and_then(|size| size.parse().ok()).filter(|size| *size > 0),
            strict: handling.as_deref() == Some("strict"),
        }
    }
}

/// Splits a text at the separators that are not in a quoted string.
pub(super) fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |letter| {
        is_quoted ^= letter == '"';
        letter == separator && !is_quoted
    })
}

impl Preferences {
    /// Returns the answer to a change: the changed entity, or nothing when the client prefers
    /// that.
    pub fn changed(self, entity: impl Serialize) -> HttpResponse {
        match self.returns {
            Some(Return::Minimal) => HttpResponse::NoContent().insert_header(Return::Minimal.applied()).finish(),
            Some(returns) => HttpResponse::Ok().insert_header(returns.applied()).json(entity),
            None => HttpResponse::Ok().json(entity),
        }
    }

    /// Returns the answer to a change of a configuration. On `/beta` it has no body unless the client
    /// prefers the entity: administration tools of Graph expect 204 there.
    pub fn changed_on(self, version: Version, entity: impl Serialize) -> HttpResponse {
        match (self.returns, version) {
            (None, Version::Beta | Version::OpenBeta) => HttpResponse::NoContent().finish(),
            _ => self.changed(entity),
        }
    }

    /// Returns the answer to a create: the entity, or only its location when the client prefers
    /// that.
    pub fn created(self, location: String, entity: impl Serialize) -> HttpResponse {
        const ENTITY_ID: HeaderName = HeaderName::from_static("odata-entityid");
        match self.returns {
            Some(Return::Minimal) => HttpResponse::NoContent()
                .insert_header((ENTITY_ID, location.clone()))
                .insert_header((LOCATION, location))
                .insert_header(Return::Minimal.applied())
                .finish(),
            Some(returns) => HttpResponse::Created()
                .insert_header((LOCATION, location))
                .insert_header(returns.applied())
                .json(entity),
            None => HttpResponse::Created().insert_header((LOCATION, location)).json(entity),
        }
    }
}

impl Return {
    fn applied(self) -> (HeaderName, &'static str) {
        let applied = match self {
            Self::Minimal => "return=minimal",
            Self::Representation => "return=representation",
        };
        (PREFERENCE_APPLIED, applied)
    }
}

impl FromRequest for Preferences {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self::of(request.headers())))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn preferences_come_in_one_line_or_in_several() {
        let mut headers = HeaderMap::new();
        headers.append(PREFER, HeaderValue::from_static("respond-async, Return = \"minimal\"; x=1"));
        headers.append(PREFER, HeaderValue::from_static("return=representation,handling=STRICT"));
        assert_eq!(
            Preferences::of(&headers),
            Preferences { returns: Some(Return::Minimal), max_page_size: None, strict: true }
        );
        assert_eq!(Preferences::of(&HeaderMap::new()), Preferences::default());
        headers.clear();
        headers.append(PREFER, HeaderValue::from_static(r#"foo="x, return=minimal"; y="handling=strict""#));
        assert_eq!(Preferences::of(&headers), Preferences::default());
    }
}

//! The root of links, the JSON of a collection, and entity references.

use std::future::{Ready, ready};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    http::{header::HOST, uri::Authority},
};
use serde::Serialize;

use super::negotiate::ControlInformation;
use crate::{
    catalogue::{rendering::Form, version::Version},
    error::ApiError,
};

/// The root URL of the links in an answer: the origin that the client used, and the version.
///
/// The origin comes from the request, so that the client can follow a link the way it reached
/// the service.
#[derive(Clone, Debug)]
pub struct Links {
    /// The version of the request.
    pub version: Version,
    /// The control information that the client wants.
    pub control: ControlInformation,
    root: String,
}

impl Links {
    /// Returns the links of a version below `origin`, which is a scheme with a host.
    pub fn new(origin: std::fmt::Arguments<'_>, version: Version, control: ControlInformation) -> Self {
        Self { version, control, root: format!("{origin}/{}", version.segment()) }
    }

    /// Returns the URL of `path` below the version.
    pub fn to(&self, path: impl std::fmt::Display) -> String {
        format!("{}/{path}", self.root)
    }

    /// Returns the `@odata.context` with this fragment.
    ///
    /// <https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part1-protocol.html#sec_ContextURL>
    pub fn context(&self, fragment: impl std::fmt::Display) -> String {
        format!("{}/$metadata#{fragment}", self.root)
    }

    /// Returns how the objects of this answer are written.
    pub fn form(&self) -> Form {
        Form { version: self.version, is_full: self.control.is_full }
    }
}

/// Whether the service trusts the forwarding headers of a request (`server.forwarded_headers`).
#[derive(Clone, Copy, Debug)]
pub struct Forwarded(pub bool);

/// The JSON of an answer that is a collection.
#[derive(Serialize)]
pub struct Collection<T> {
    /// `@odata.context`
    #[serde(rename = "@odata.context")]
    pub context: String,
    /// The number of all elements, when the client asked for it.
    #[serde(rename = "@odata.count", skip_serializing_if = "Option::is_none")]
    pub count: Option<i64>,
    /// The link to the next page, if there is one.
    #[serde(rename = "@odata.nextLink", skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The elements of the page.
    pub value: Vec<T>,
}

impl<T> Collection<T> {
    /// Returns a collection that is whole: it has no next page, and the client asked for no count.
    pub fn whole(context: String, value: Vec<T>) -> Self {
        Self { context, count: None, next: None, value }
    }
}

/// An entity reference: the id of an entity instead of the entity.
///
/// <https://docs.oasis-open.org/odata/odata-json-format/v4.01/odata-json-format-v4.01.html#sec_EntityReference>
#[derive(Serialize)]
pub struct Reference {
    #[serde(rename = "@odata.context", skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    #[serde(rename = "@odata.id")]
    id: String,
}

impl Reference {
    /// The fragment of `@odata.context` for a collection of references.
    pub const COLLECTION: &str = "Collection($ref)";

    /// Returns a reference to the entity at `path` as an element of a collection.
    pub fn element(links: &Links, path: impl std::fmt::Display) -> Self {
        Self { context: None, id: links.to(path) }
    }

    /// Returns a reference to the entity at `path` as the whole answer.
    pub fn alone(links: &Links, path: impl std::fmt::Display) -> Self {
        Self { context: Some(links.context("$ref")), ..Self::element(links, path) }
    }
}

impl FromRequest for Links {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let version = Version::of(request);
        let control = request.extensions().get().copied().unwrap_or_default();
        if request.app_data().is_some_and(|Forwarded(is_trusted)| *is_trusted) {
            let connection = request.connection_info();
            let host = Authority::try_from(connection.host()).ok().filter(is_host);
            let is_web = ["http", "https"].contains(&connection.scheme());
            if let Some(host) = host.filter(|_| is_web) {
                let origin = format_args!("{}://{host}", connection.scheme());
                return ready(Ok(Self::new(origin, version, control)));
            }
        }
        let scheme = if request.app_config().secure() { "https" } else { "http" };
        ready(authority(request).map(|host| Self::new(format_args!("{scheme}://{host}"), version, control)))
    }
}

fn is_host(host: &Authority) -> bool {
    !host.as_str().contains('@')
}

/// Returns the host of the request: from an absolute URL, else from the `Host` header.
fn authority(request: &HttpRequest) -> Result<Authority, ApiError> {
    if let Some(authority) = request.uri().authority() {
        return Ok(authority.clone());
    }
    let host = match request.headers().get(HOST) {
        Some(host) if !host.is_empty() => Authority::try_from(host.as_bytes()).ok(),
        _ => request.app_config().local_addr().to_string().parse().ok(),
    };
    host.filter(is_host)
        .ok_or_else(|| ApiError::bad_request("The header Host is not a host name with an optional port. Correct it."))
}

//! The root of links, and the members of a collection's answer.

use std::future::{Ready, ready};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::{header::HOST, uri::Authority},
};
use serde::Serialize;

use crate::{catalogue::version::Version, error::ApiError};

/// Where links of this answer begin: the client's own origin and the version.
///
/// The origin is that of the request, so that a client can follow a link the
/// way it came.
#[derive(Clone, Debug)]
pub struct Links {
    /// The version that was asked for.
    pub version: Version,
    root: String,
}

impl Links {
    /// The URL of `path` below the version.
    pub fn to(&self, path: impl std::fmt::Display) -> String {
        format!("{}/{path}", self.root)
    }

    /// `@odata.context` for what `fragment` describes.
    ///
    /// <https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part1-protocol.html#sec_ContextURL>
    pub fn context(&self, fragment: impl std::fmt::Display) -> String {
        format!("{}/$metadata#{fragment}", self.root)
    }
}

/// Whether the forwarding headers of a request are believed.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded(pub bool);

/// A collection as the whole answer.
#[derive(Serialize)]
pub struct Collection<T> {
    /// `@odata.context`
    #[serde(rename = "@odata.context")]
    pub context: String,
    /// How many there are, where that was asked.
    #[serde(rename = "@odata.count", skip_serializing_if = "Option::is_none")]
    pub count: Option<i64>,
    /// Where the next page is, if there is one.
    #[serde(rename = "@odata.nextLink", skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Its elements.
    pub value: Vec<T>,
}

impl FromRequest for Links {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let version = Version::of(request);
        if request.app_data().is_some_and(|Forwarded(is_trusted)| *is_trusted) {
            let connection = request.connection_info();
            let host = Authority::try_from(connection.host()).ok().filter(is_host);
            let is_web = ["http", "https"].contains(&connection.scheme());
            if let Some(host) = host.filter(|_| is_web) {
                let root = format!("{}://{host}/{}", connection.scheme(), version.segment());
                return ready(Ok(Self { version, root }));
            }
        }
        let scheme = if request.app_config().secure() { "https" } else { "http" };
        let root = |host: Authority| Self { version, root: format!("{scheme}://{host}/{}", version.segment()) };
        ready(authority(request).map(root))
    }
}

fn is_host(host: &Authority) -> bool {
    !host.as_str().contains('@')
}

/// The host that the client asked: of the URL where it is whole, else of `Host`.
fn authority(request: &HttpRequest) -> Result<Authority, ApiError> {
    if let Some(authority) = request.uri().authority() {
        return Ok(authority.clone());
    }
    let host = match request.headers().get(HOST) {
        Some(host) if !host.is_empty() => Authority::try_from(host.as_bytes()).ok(),
        _ => request.app_config().local_addr().to_string().parse().ok(),
    };
    host.filter(is_host).ok_or_else(|| ApiError::bad_request("The header Host is no host name with an optional port."))
}

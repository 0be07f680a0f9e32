//! Content negotiation: the version of OData, and how much control information an answer
//! carries.
//!
//! Answers are OData 4.0 JSON with `odata.metadata=minimal`, `full` or `none`. Handlers write the
//! control information that [`ControlInformation`] asks for. For `none`, this module removes
//! control information from the finished answer.
//!
//! <https://docs.oasis-open.org/odata/odata-json-format/v4.01/odata-json-format-v4.01.html#sec_ControllingtheAmountofControlInforma>

use actix_web::{
    Error, HttpMessage,
    body::{BoxBody, MessageBody, to_bytes},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{ApiError, shorten};

const VERSION: HeaderName = HeaderName::from_static("odata-version");
const MAX_VERSION: HeaderName = HeaderName::from_static("odata-maxversion");

/// Checks that the client accepts the format of the answers, and applies `odata.metadata`.
///
/// # Errors
/// None: a refusal is a response.
pub async fn negotiate(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let metadata = versions(request.headers()).and_then(|()| Metadata::of(request.headers()));
    let mut response = match metadata {
        Ok(metadata) => {
            let asks_for_version = request.headers().contains_key(&MAX_VERSION);
            request.extensions_mut().insert(metadata.control_information(asks_for_version));
            let response = next.call(request).await?.map_into_boxed_body();
            metadata.apply(response).await?
        }
        Err(refusal) => request.error_response(refusal),
    };
    set_version_header(response.headers_mut());
    Ok(response)
}

/// The `OData-Version` header. Answers that do not pass [`negotiate`] have it, too.
pub const VERSION_HEADER: (HeaderName, &str) = (VERSION, "4.0");

/// Adds the `OData-Version` header.
pub fn set_version_header(headers: &mut HeaderMap) {
    headers.insert(VERSION_HEADER.0, HeaderValue::from_static(VERSION_HEADER.1));
}

fn versions(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?").trim());
    match text(&VERSION) {
        None | Some("4.0" | "4.01") => {}
        Some(other) => {
            return Err(ApiError::bad_request(format!(
                "The header OData-Version is '{}', and this service supports 4.0 and 4.01. Send one of these, or leave the header out.",
                shorten(other)
            )));
        }
    }
    let major = |text: &str| text.split('.').next().and_then(|major| major.parse::<u32>().ok());
    let is_supported = |text: &str| major(text).is_some_and(|major| major >= 4);
    match text(&MAX_VERSION) {
        Some(text) if !is_supported(text) => Err(ApiError::bad_request(format!(
            "The header OData-MaxVersion is '{}', and this service answers in version 4.0. Send 4.0 or later, or leave the header out.",
            shorten(text)
        ))),
        _ => Ok(()),
    }
}

/// The control information that a client wants in bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlInformation {
    /// Whether a body holds the ETag of each entity. Graph sends none for these types, so the
    /// client has to ask for `minimal` or `full`, or to state `OData-MaxVersion`.
    pub has_etags: bool,
    /// Whether a body holds all control information, as `odata.metadata=full` asks.
    pub is_full: bool,
}

/// The level of control information that the client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metadata {
    /// The client did not ask. The answer is the same as for `minimal`, without ETags in bodies
    /// and without the parameter in its media type.
    Unspecified,
    Minimal,
    /// Also types, ids and links.
    Full,
    /// Only what a client needs for paging.
    None,
}

impl Metadata {
    /// Returns the first acceptable level in `Accept`. The service answers JSON whatever media
    /// type the client asks for, as Graph does.
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let lines = headers.get_all(ACCEPT).filter_map(|line| line.to_str().ok());
        let mut refused = None;
        for range in lines.flat_map(|line| line.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            let (mut metadata, mut is_wanted) = (None, true);
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                if ["odata.metadata", "metadata"].iter().any(|known| known.eq_ignore_ascii_case(name.trim())) {
                    metadata = Some(value.trim().trim_matches('"').to_ascii_lowercase());
                }
                is_wanted &= !(name.trim().eq_ignore_ascii_case("q") && value.trim().parse() == Ok(0.0));
            }
            match metadata.as_deref() {
                _ if !is_wanted => {}
                None if media_type.is_empty() => {}
                None => return Ok(Self::Unspecified),
                Some("minimal") => return Ok(Self::Minimal),
                Some("full") => return Ok(Self::Full),
                Some("none") => return Ok(Self::None),
                Some(other) => refused = refused.or_else(|| Some(shorten(other))),
            }
        }
        match refused {
            None => Ok(Self::Unspecified),
            Some(other) => Err(ApiError::not_acceptable(format!(
                "The header Accept asks for odata.metadata={other}. Ask for minimal, full or none."
            ))),
        }
    }

    /// Returns the control information that handlers write. `asks_for_version` says whether the client sent
    /// `OData-MaxVersion`.
    fn control_information(self, asks_for_version: bool) -> ControlInformation {
        ControlInformation { has_etags: self != Self::Unspecified || asks_for_version, is_full: self == Self::Full }
    }

    async fn apply(self, response: ServiceResponse) -> Result<ServiceResponse, Error> {
        let name = match self {
            Self::Unspecified => return Ok(response),
            Self::Minimal => "minimal",
            Self::Full => "full",
            Self::None => "none",
        };
        let is_json = response.headers().get(CONTENT_TYPE).is_some_and(|value| value == "application/json");
        if !is_json || !response.status().is_success() {
            return Ok(response);
        }
        let (request, response) = response.into_parts();
        let (mut response, body) = response.into_parts();
        if let Ok(value) = HeaderValue::try_from(format!("application/json;odata.metadata={name}")) {
            response.headers_mut().insert(CONTENT_TYPE, value);
        }
        let body = match self {
            Self::None => {
                response.headers_mut().remove(CONTENT_LENGTH);
                let bytes = to_bytes(body).await.map_err(Error::from)?;
                let mut node: Node = serde_json::from_slice(&bytes)?;
                node.strip();
                BoxBody::new(serde_json::to_vec(&node)?)
            }
            Self::Minimal | Self::Full | Self::Unspecified => body,
        };
        Ok(ServiceResponse::new(request, response.set_body(body)))
    }
}

/// The id in an entity reference.
const REFERENCE: &str = "@odata.id";

/// JSON whose members keep their order.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Node {
    Object(IndexMap<String, Self>),
    Array(Vec<Self>),
    Other(Value),
}

impl Node {
    /// Removes all control information except links to pages, counts, and the ids of entity
    /// references, which have no other member.
    fn strip(&mut self) {
        match self {
            Self::Object(members) => {
                let is_reference = members.keys().all(|name| name.starts_with("@odata."));
                members.retain(|name, _| {
                    let control = name.split_once('@').map(|(_, control)| control);
                    control.is_none_or(|control| ["odata.nextLink", "odata.count"].contains(&control))
                        || is_reference && name == REFERENCE
                });
                members.values_mut().for_each(Self::strip);
            }
            Self::Array(elements) => elements.iter_mut().for_each(Self::strip),
            Self::Other(_) => {}
        }
    }
}

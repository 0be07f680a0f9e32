//! Request bodies: checks the media type, the encoding and the size, then parses the JSON.

use std::{
    future::Future,
    io::{self, Read},
    pin::Pin,
    time::Duration,
};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap},
    mime,
    web::{Bytes, BytesMut},
};
use anyhow::anyhow;
use flate2::bufread::{GzDecoder, ZlibDecoder};
use futures_util::StreamExt;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::{
    body_memory::{BodyMemory, Reservation},
    json,
    members::ObjectReader,
};
use crate::{catalogue::version::Version, error::ApiError};

/// The limits of a body, which the extractor reads from the application data.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limit {
    /// `server.max_body_bytes`
    pub bytes: usize,
    /// `server.request_timeout_seconds`
    pub time: Duration,
}

/// The JSON object in the body of a request.
#[derive(Debug)]
pub struct Body {
    values: Map<String, Value>,
    version: Version,
    /// The maximum number of values that a body may have.
    pub max_values: usize,
}

impl Body {
    /// Returns the members, to be read as `type_name`.
    pub fn members(self, type_name: &'static str) -> ObjectReader {
        ObjectReader::new(self.values, String::new(), type_name, self.version)
    }
}

impl FromRequest for Body {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let version = Version::of(request);
        let max_values = request.app_data::<BodyMemory>().map_or(0, |memory| memory.max_values);
        let bytes = read(request, payload);
        Box::pin(async move { Ok(Self { values: json::object(&bytes.await?)?, version, max_values }) })
    }
}

/// Reads and decodes a body whose media type is JSON.
///
/// # Errors
/// 400 when the body cannot be read. 408 when reading takes too long. 413 when the body is too
/// large or has too many values. 415 for another media type or encoding. 503 when the bodies of
/// other requests use the memory.
pub fn read(request: &HttpRequest, payload: &mut Payload) -> impl Future<Output = Result<Bytes, ApiError>> + use<> {
    let Limit { bytes: limit, time } = request.app_data().copied().unwrap_or_default();
    let memory = request.app_data::<BodyMemory>().cloned();
    let readable = media_type(request).and_then(|()| Encoding::of(request.headers())).and_then(|encoding| {
        let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if announced.unwrap_or(0) > limit { Err(ApiError::too_large(limit)) } else { Ok(encoding) }
    });
    let payload = payload.take();
    let request = request.clone();
    async move {
        let encoding = readable?;
        let memory = memory.ok_or_else(|| ApiError::internal(anyhow!("the application has no memory for bodies")))?;
        let mut reservation = memory.reserve();
        let received = timeout(time, receive(payload, limit, &mut reservation)).await;
        let bytes = encoding.decode(received.map_err(|_| ApiError::timeout(time))??, limit)?;
        memory.check(&bytes, &mut reservation)?;
        // The values of the body live about as long as the request.
        request.extensions_mut().insert(reservation);
        Ok(bytes)
    }
}

/// Receives a body. Reserves memory for each part before it receives the next one, so that many
/// slow clients cannot fill the memory with the beginnings of large bodies.
async fn receive(mut payload: Payload, limit: usize, reservation: &mut Reservation) -> Result<Bytes, ApiError> {
    let mut received = BytesMut::new();
    while let Some(part) = payload.next().await {
        let part =
            part.map_err(|_| ApiError::bad_request("The request body is incomplete. Send the request again."))?;
        if received.len() + part.len() > limit {
            return Err(ApiError::too_large(limit));
        }
        reservation.grow_to(received.len() + part.len())?;
        received.extend_from_slice(&part);
    }
    Ok(received.freeze())
}

/// Checks that the media type is `application/json` in UTF-8, with any other parameters.
fn media_type(request: &HttpRequest) -> Result<(), ApiError> {
    let expected = "The body of this request must be JSON in UTF-8: send 'Content-Type: application/json'.";
    let Ok(Some(mime)) = request.mime_type() else { return Err(ApiError::media_type(expected)) };
    let is_utf8 = mime.get_param(mime::CHARSET).is_none_or(|charset| charset == mime::UTF_8 || charset == "utf8");
    if mime.essence_str() == mime::APPLICATION_JSON.essence_str() && is_utf8 {
        Ok(())
    } else {
        Err(ApiError::media_type(expected))
    }
}

/// The encoding of a body.
#[derive(Clone, Copy)]
enum Encoding {
    Identity,
    Gzip,
    Deflate,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut lines = headers.get_all(CONTENT_ENCODING);
        let (line, more) = (lines.next(), lines.next());
        let name = line.map(|line| line.to_str().unwrap_or("?").trim().to_ascii_lowercase());
        match (name.as_deref(), more) {
            (None | Some("" | "identity"), None) => Ok(Self::Identity),
            (Some("gzip" | "x-gzip"), None) => Ok(Self::Gzip),
            (Some("deflate"), None) => Ok(Self::Deflate),
            _ => Err(ApiError::media_type(
                "The Content-Encoding of this request is not supported. Send gzip, deflate or no Content-Encoding.",
            )),
        }
    }

    /// Decodes the body up to the limit, so that a small body cannot expand to a large one.
    fn decode(self, bytes: Bytes, limit: usize) -> Result<Bytes, ApiError> {
        let mut encoded = bytes.as_ref();
        let decoded = match self {
            Self::Identity => return Ok(bytes),
            Self::Gzip => decode_up_to(limit, GzDecoder::new(&mut encoded)),
            Self::Deflate => decode_up_to(limit, ZlibDecoder::new(&mut encoded)),
        };
        match decoded {
            Ok(decoded) if decoded.len() > limit => Err(ApiError::too_large(limit)),
            Ok(decoded) if encoded.is_empty() => Ok(decoded.into()),
            _ => Err(ApiError::bad_request(
                "The request body is not in the encoding that its Content-Encoding names. Correct the body or the header.",
            )),
        }
    }
}

fn decode_up_to(limit: usize, encoded: impl Read) -> io::Result<Vec<u8>> {
    let mut decoded = Vec::new();
    encoded.take(limit as u64 + 1).read_to_end(&mut decoded)?;
    Ok(decoded)
}

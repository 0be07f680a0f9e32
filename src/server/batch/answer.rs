//! The answer to a step, and its JSON in the answer to the batch.

use actix_web::{
    HttpResponse,
    body::{BoxBody, MessageBody, to_bytes},
    http::{
        StatusCode,
        header::{CONTENT_TYPE, HeaderMap, LOCATION},
    },
    web::Bytes,
};
use anyhow::{anyhow, ensure};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value, value::RawValue};

/// The answer to a step.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body. Empty when there is none.
    pub body: Bytes,
    /// The path of the step.
    pub path: String,
}

impl Answer {
    /// Reads a complete response. Drops the body of the answer to a HEAD request.
    ///
    /// # Errors
    /// When the body breaks off, or is not valid JSON although its `Content-Type` says so.
    pub async fn read(response: HttpResponse, is_head: bool, path: String) -> anyhow::Result<Self> {
        let (response, body) = response.into_parts();
        let body = match is_head {
            true => Bytes::new(),
            false => whole(body).await?,
        };
        let answer = Self { status: response.status(), headers: response.headers().clone(), body, path };
        let is_json = answer.media_type() == "application/json" && !answer.body.is_empty();
        ensure!(
            !is_json || serde_json::from_slice::<&RawValue>(&answer.body).is_ok(),
            "the answer to a step is not valid JSON"
        );
        Ok(answer)
    }

    /// Returns whether the step failed, so that steps that depend on it do not run.
    pub fn has_failed(&self) -> bool {
        self.status.is_client_error() || self.status.is_server_error()
    }

    /// Returns the URL for `$id`: that of the created resource, else that of the request.
    pub fn resource(&self) -> String {
        let created = self.headers.get(LOCATION).and_then(|location| location.to_str().ok());
        created.map_or_else(|| format!("http://batch{}", self.path), str::to_owned)
    }

    /// Returns the JSON of the answer in pieces. Does not copy a JSON body, because it may be
    /// large.
    pub fn entry(self, id: &str) -> [Bytes; 3] {
        let headers: Map<_, _> = self
            .headers
            .keys()
            .map(|name| (documented_name(name.as_str()).to_owned(), self.lines(name.as_str())))
            .collect();
        let head = format!(
            r#"{{"id":{},"status":{},"headers":{}"#,
            Value::from(id),
            self.status.as_u16(),
            Value::from(headers)
        );
        let body: Bytes = match self.media_type() {
            _ if self.body.is_empty() => return [head.into(), Bytes::new(), "}".into()],
            "application/json" => self.body,
            media_type if media_type.starts_with("text/") => {
                Value::from(String::from_utf8_lossy(&self.body)).to_string().into()
            }
            _ => format!(r#""{}""#, BASE64_URL_SAFE_NO_PAD.encode(&self.body)).into(),
        };
        [format!(r#"{head},"body":"#).into(), body, "}".into()]
    }

    /// Returns the values of a header in one line.
    fn lines(&self, name: &str) -> Value {
        let lines: Vec<_> = self.headers.get_all(name).map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        Value::from(lines.join(", "))
    }

    /// Returns the media type of the body, without parameters.
    fn media_type(&self) -> &str {
        let value = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim()
    }
}

/// Reads a complete body. Does not copy a body that is already in memory.
async fn whole(body: BoxBody) -> anyhow::Result<Bytes> {
    match body.try_into_bytes() {
        Ok(bytes) => Ok(bytes),
        Err(body) => to_bytes(body).await.map_err(|error| anyhow!("the answer to a step is incomplete: {error}")),
    }
}

/// Returns the name of a header as it is documented. Some clients compare names
/// case-sensitively.
fn documented_name(name: &str) -> &str {
    const DOCUMENTED: [&str; 10] = [
        "Allow",
        "Content-Type",
        "ETag",
        "Location",
        "OData-EntityId",
        "OData-Version",
        "Preference-Applied",
        "Retry-After",
        "Vary",
        "WWW-Authenticate",
    ];
    DOCUMENTED.into_iter().find(|documented| documented.eq_ignore_ascii_case(name)).unwrap_or(name)
}

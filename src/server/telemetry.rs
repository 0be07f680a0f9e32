//! Logs, and the two ids that tie a request to its line in them.
//!
//! Every request is one line: method, path, status, time, ids and, where one
//! is known, the cause of a failure. No header, query string or body is ever
//! logged.

use std::io::{self, IsTerminal};

use actix_web::{
    Error, HttpMessage, HttpResponse, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};
use anyhow::Context;
use tokio::time::Instant;
use tracing::Instrument;
use tracing_subscriber::EnvFilter;
use uuid::Uuid;

use super::{
    envelope,
    metrics::{Metrics, RouteLabels},
};
use crate::{
    config::{Log, LogFormat},
    database::request::RequestContext,
    error::ApiError,
};

/// Graph's name for the id that the service gives a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// Graph's name for the id that a client gives a request; echoed back.
pub const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");

/// Starts logging to standard error.
///
/// # Errors
/// When `log.filter` is not a filter.
pub fn start(log: &Log) -> anyhow::Result<()> {
    let filter =
        EnvFilter::try_new(&log.filter).with_context(|| format!("log.filter: '{}' is not a filter", log.filter))?;
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    match log.format {
        LogFormat::Pretty => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

/// The ids of one request, in its answer and its log line.
struct RequestIds {
    /// Made by the service.
    request_id: Uuid,
    /// The client's own, else the service's.
    client_request_id: String,
}

impl RequestIds {
    fn new(request_id: Uuid, headers: &HeaderMap) -> Self {
        let client_request_id = headers
            .get(CLIENT_REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .filter(|id| !id.is_empty() && id.len() <= 128)
            .map_or_else(|| request_id.to_string(), str::to_owned);
        Self { request_id, client_request_id }
    }

    fn write(&self, headers: &mut HeaderMap) {
        for (name, id) in [(REQUEST_ID, &self.request_id.to_string()), (CLIENT_REQUEST_ID, &self.client_request_id)] {
            if let Ok(value) = HeaderValue::from_str(id) {
                headers.insert(name, value);
            }
        }
    }

    /// Writes the line of the request; without a time where it was not carried out.
    fn log(&self, (method, path): (&Method, &str), status: StatusCode, elapsed_us: Option<u64>, cause: Option<String>) {
        let (status, Self { request_id, client_request_id }) = (status.as_u16(), self);
        match cause {
            Some(cause) => {
                tracing::error!(%method, path, status, elapsed_us, %request_id, client_request_id, cause, "request")
            }
            None => tracing::info!(%method, path, status, elapsed_us, %request_id, client_request_id, "request"),
        }
    }
}

/// The outermost layer: gives the request its ids, an error its body, and the
/// log its line.
///
/// # Errors
/// None of its own: inner layers answer with a response.
pub async fn request(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let at = Instant::now();
    let ids = RequestIds::new(Uuid::new_v4(), request.headers());
    request.extensions_mut().insert(RequestContext { request_id: ids.request_id, at });
    let method = request.method().clone();
    let path = request.uri().path().to_owned();

    let metrics = request.app_data::<Data<Metrics>>().cloned();
    let in_flight = metrics.as_ref().map(|metrics| metrics.in_flight());
    let span = tracing::error_span!("request", request_id = %ids.request_id);
    let mut response = next.call(request).instrument(span).await?.map_into_boxed_body();
    if let Some(error) = response.response().error() {
        let body = envelope::envelope(error, ids.request_id, &ids.client_request_id);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response = response.map_body(|_, _| BoxBody::new(body));
    }
    ids.write(response.headers_mut());

    drop(in_flight);
    let (status, elapsed) = (response.status(), at.elapsed());
    if let Some(metrics) = metrics {
        let labels = response.request().extensions().get().copied().unwrap_or(RouteLabels::UNROUTED);
        let refusal = response.response().error().and_then(|error| error.as_error::<ApiError>());
        let failure = refusal.and_then(|refusal| refusal.cause()?.downcast_ref::<sqlx::Error>());
        metrics.count_answer(labels, status.as_u16(), elapsed, failure);
    }
    let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    let cause = response.response().error().and_then(cause);
    ids.log((&method, &path), status, Some(elapsed_us), cause);
    Ok(response)
}

/// The answer to a step of a batch that is not carried out, and its line in the
/// log. What was carried out and taken back keeps the id of its answer so far,
/// `earlier`: the last line of an id says what became of the request.
pub fn refusal(
    request: (&Method, &str),
    headers: &HeaderMap,
    earlier: Option<&HeaderMap>,
    refusal: ApiError,
) -> HttpResponse<BoxBody> {
    let earlier = earlier.and_then(|headers| headers.get(REQUEST_ID)?.to_str().ok()?.parse().ok());
    let ids = RequestIds::new(earlier.unwrap_or_else(Uuid::new_v4), headers);
    let mut response = refusal.error_response();
    ids.log(request, response.status(), None, refusal.cause().map(|cause| format!("{cause:#}")));
    let body = envelope::envelope(&refusal.into(), ids.request_id, &ids.client_request_id);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    ids.write(response.headers_mut());
    response.set_body(BoxBody::new(body))
}

/// What the log is told of a failure beside its status; nothing of what a
/// client did wrong.
fn cause(error: &Error) -> Option<String> {
    match error.as_error::<ApiError>() {
        Some(error) => error.cause().map(|cause| format!("{cause:#}")),
        None if error.as_response_error().status_code().is_client_error() => None,
        None => Some(error.to_string()),
    }
}

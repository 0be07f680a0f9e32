//! The body of every error, in Graph's form.
//!
//! Form: <https://learn.microsoft.com/graph/errors>

use actix_cors::CorsError;
use serde::Serialize;
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};
use uuid::Uuid;

use crate::error::{ApiError, Code, FAILED};

/// Graph's format: no time zone, no fraction.
const DATE: &[BorrowedFormatItem<'static>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");

/// The members have the order of Graph.
#[derive(Serialize)]
struct Envelope<'a> {
    error: Body<'a>,
}

#[derive(Serialize)]
struct Body<'a> {
    code: &'static str,
    message: String,
    #[serde(rename = "innerError")]
    inner_error: InnerError<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct InnerError<'a> {
    date: String,
    request_id: Uuid,
    client_request_id: &'a str,
}

/// Returns the body of an error in Graph's form.
pub fn envelope(error: &actix_web::Error, request_id: Uuid, client_request_id: &str) -> String {
    let (code, message) = match error.as_error::<ApiError>() {
        Some(error) => (error.code(), error.to_string()),
        None if error.as_error::<CorsError>().is_some() => (
            Code::BadRequest,
            "The origin of the page, or a method or header that the page wants to send, is not allowed. An operator can allow origins in server.cors_origins.".to_owned(),
        ),
        // An error of actix-web itself, before a handler runs.
        None if error.as_response_error().status_code().is_client_error() => (Code::BadRequest, error.to_string()),
        None => (Code::InternalServerError, FAILED.to_owned()),
    };
    let inner_error =
        InnerError { date: OffsetDateTime::now_utc().format(&DATE).unwrap_or_default(), request_id, client_request_id };
    let error = Body { code: code.wire().1, message, inner_error };
    serde_json::to_string(&Envelope { error }).unwrap_or_default()
}

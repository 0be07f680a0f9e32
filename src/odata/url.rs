//! The check of every request line, before routing.
//!
//! The route table says which options a path supports.

use actix_web::{
    Error, HttpMessage,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::Uri,
    middleware::Next,
};

use super::options::Options;
use crate::error::ApiError;

/// Answers 400 for a request line that cannot be parsed, or has an unknown system query option.
///
/// # Errors
/// None: a refusal is a response.
pub async fn check(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match percent_encoding(request.uri()).and_then(|()| Options::parse(request.query_string())) {
        Ok(options) => {
            request.extensions_mut().insert(options);
            Ok(next.call(request).await?.map_into_boxed_body())
        }
        Err(refusal) => Ok(request.error_response(refusal)),
    }
}

fn percent_encoding(uri: &Uri) -> Result<(), ApiError> {
    for (part, text) in [("path", uri.path()), ("query", uri.query().unwrap_or_default())] {
        let bad = text.split('%').skip(1).any(|rest| {
            let digits = rest.as_bytes().get(..2);
            !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        });
        if bad || percent_encoding::percent_decode_str(text).decode_utf8().is_err() {
            return Err(ApiError::bad_request(format!(
                "The {part} of the URL is not percent-encoded UTF-8. Write a '%' in a text as '%25'."
            )));
        }
    }
    Ok(())
}

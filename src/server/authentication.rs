//! Finds the caller of a request before routing, or answers 401.

use actix_web::{
    Error, HttpMessage,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web::Data,
};

use super::routing;
use crate::auth::Authenticator;

/// Finds the caller of a request, or answers 401.
///
/// # Errors
/// None: a refusal is a response.
pub async fn authenticate(
    authenticator: Data<Authenticator>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if !routing::has_route(request.path(), |access| authenticator.allows_anonymous(access)) {
        match authenticator.caller(request.headers()).await {
            Ok(caller) => drop(request.extensions_mut().insert(caller)),
            Err(refusal) => return Ok(request.error_response(refusal)),
        }
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

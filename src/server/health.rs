//! Health checks: whether the process is up, and whether the service is ready.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{
    auth::Authenticator,
    database::{self, connections::Connections},
    error::ApiError,
};
use actix_web::{
    Error, HttpResponse,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::ConnectionType,
    middleware::Next,
    web::Data,
};

/// Whether `database.seed` is loaded. Always true when it is not set.
pub struct Seeded(pub AtomicBool);

/// Whether the service is shutting down.
pub struct ShuttingDown(pub AtomicBool);

/// Closes the connection after each answer while the service shuts down, so that clients send
/// their next requests elsewhere.
pub async fn close_after_response_on_shutdown(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let shutting_down = request.app_data::<Data<ShuttingDown>>().cloned();
    let mut response = next.call(request).await?;
    if shutting_down.is_some_and(|shutting_down| shutting_down.0.load(Ordering::Acquire)) {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}

/// Answers that the process is up. Does not check the database: an outage of the database must
/// not make an orchestrator restart the service.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({"status": "live"}))
}

/// Answers that the service is ready: the database answers and has every migration of this
/// release, the seed is loaded, and there are keys to validate tokens.
///
/// # Errors
/// 503 until the service is ready, and while it is shutting down.
pub async fn ready(
    connections: Connections,
    authenticator: Data<Authenticator>,
    seeded: Data<Seeded>,
    shutting_down: Data<ShuttingDown>,
) -> Result<HttpResponse, ApiError> {
    if shutting_down.0.load(Ordering::Acquire) {
        return Err(ApiError::shutting_down());
    }
    if !authenticator.has_keys() {
        return Err(ApiError::unavailable(anyhow::anyhow!("the keys of the issuers have not been read yet")));
    }
    if !seeded.0.load(Ordering::Acquire) {
        return Err(ApiError::unavailable(anyhow::anyhow!("database.seed is being loaded")));
    }
    match database::is_migrated(&mut *connections.acquire().await?).await? {
        true => Ok(HttpResponse::Ok().json(serde_json::json!({"status": "ready"}))),
        false => {
            Err(ApiError::unavailable(anyhow::anyhow!("the database lacks migrations: run `devicegraph migrate`")))
        }
    }
}

//! What the service says of itself: what it is, that it is up, that it is ready.

use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::{HttpResponse, web::Data};
use sqlx::PgPool;

use crate::{auth::Gate, database, error::ApiError};

/// Whether `database.seed` is in the database; always, where it is not set.
pub struct Seeded(pub AtomicBool);

/// What this is, and where to go.
pub fn welcome() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "deviceConfigurations": "/v1.0/deviceManagement/deviceConfigurations",
        "ready": "/health/ready",
    }))
}

/// The process is up. Says nothing of the database, so that nobody restarts
/// the service for an outage of it.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({"status": "live"}))
}

/// The database answers and holds every migration of this release, and the
/// seed where the settings name one, and there are keys to check tokens with.
///
/// # Errors
/// 503 until then.
pub async fn ready(pool: Data<PgPool>, gate: Data<Gate>, seeded: Data<Seeded>) -> Result<HttpResponse, ApiError> {
    if !gate.has_keys() {
        return Err(ApiError::unavailable(anyhow::anyhow!("the keys of no issuer are there yet")));
    }
    if !seeded.0.load(Ordering::Acquire) {
        return Err(ApiError::unavailable(anyhow::anyhow!("database.seed is being loaded")));
    }
    match database::is_migrated(&pool).await? {
        true => Ok(HttpResponse::Ok().json(serde_json::json!({"status": "ready"}))),
        false => {
            Err(ApiError::unavailable(anyhow::anyhow!("the database lacks migrations: run `devicegraph migrate`")))
        }
    }
}

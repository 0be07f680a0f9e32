//! The answer when a search ran into `database.statement_timeout_ms`.
//!
//! A 503 makes clients send the request again, three times as a rule. That only helps when the
//! database was overloaded. Otherwise the search itself is too expensive, and the same request
//! would fail again: 400.

use std::time::Duration;

use actix_web::{HttpMessage, body::BoxBody, dev::ServiceResponse, web::Data};
use anyhow::anyhow;

use super::metrics::Metrics;
use crate::{
    database::{pool::Pool, request::RequestContext},
    error::ApiError,
};

/// PostgreSQL's code for a statement that was cancelled, by its timeout or by an administrator.
const QUERY_CANCELED: &str = "57014";

/// Turns the 503 of a search into a 400 when the search was too expensive.
pub fn refused(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let Some((limit, cause)) = limit_reached(&response) else { return response };
    let refusal = ApiError::bad_request(format!(
        "The query took longer than {} ms and was cancelled, because it reads too many rows. Filter or sort by indexed properties: id, displayName (eq, in, startswith or a range), createdDateTime, lastModifiedDateTime, the type (isof or a cast), and the group of an assignment, for example assignments/any(a:a/target/microsoft.graph.groupAssignmentTarget/groupId eq '…').",
        limit.as_millis()
    ));
    response.error_response(refusal.caused_by(cause))
}

/// Returns the timeout of statements and the error, when the timeout ended a statement of the
/// request although the database was not overloaded. Counts the error.
fn limit_reached(response: &ServiceResponse<BoxBody>) -> Option<(Duration, anyhow::Error)> {
    let error: &sqlx::Error = response.response().error()?.as_error::<ApiError>()?.cause()?.downcast_ref()?;
    if error.as_database_error()?.code()? != QUERY_CANCELED {
        return None;
    }
    let pool = response.request().app_data::<Data<Pool>>()?;
    let limits = pool.limits();
    let limit = limits.statement?;
    // Otherwise the statement may have waited for a lock, and a retry can succeed.
    limits.lock.filter(|lock| *lock < limit)?;
    let arrived = response.request().extensions().get::<RequestContext>()?.at;
    // An administrator can cancel a statement at any time.
    if arrived.elapsed() < limit || pool.was_overloaded(arrived) {
        return None;
    }
    if let Some(metrics) = response.request().app_data::<Data<Metrics>>() {
        metrics.count_database_failure(error);
    }
    Some((limit, anyhow!("{error}")))
}

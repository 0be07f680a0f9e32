//! The answer when a statement of a request ran into `database.statement_timeout_ms`.
//!
//! A 503 makes clients send the request again, three times as a rule. That only helps when the
//! database was overloaded. Otherwise the statement itself is too expensive, and the same
//! request would fail again: 400.

use std::time::Duration;

use actix_web::{HttpMessage, body::BoxBody, dev::ServiceResponse, web::Data};

use crate::{
    database::{pool::Pool, request::RequestContext, work::WorkClass},
    error::ApiError,
};

/// PostgreSQL's code for a statement that was cancelled, by its timeout or by an administrator.
const QUERY_CANCELED: &str = "57014";

/// Turns a 503 into a 400 when a statement of the request was too expensive.
pub fn refused(response: ServiceResponse<BoxBody>, work: WorkClass) -> ServiceResponse<BoxBody> {
    match limit_reached(&response, work) {
        Some(limit) => response.error_response(refusal(work, limit)),
        None => response,
    }
}

/// Returns the timeout of statements when it ended a statement of the request although the
/// database was not overloaded.
fn limit_reached(response: &ServiceResponse<BoxBody>, work: WorkClass) -> Option<Duration> {
    let cause = response.response().error()?.as_error::<ApiError>()?.cause()?;
    let sqlx::Error::Database(error) = cause.downcast_ref()? else { return None };
    if error.code()? != QUERY_CANCELED {
        return None;
    }
    let pool = response.request().app_data::<Data<Pool>>()?;
    let limit = pool.limits().statement?;
    let arrived = response.request().extensions().get::<RequestContext>()?.at;
    // An administrator can cancel a statement at any time.
    (arrived.elapsed() >= limit && !pool.is_overloaded(work)).then_some(limit)
}

fn refusal(work: WorkClass, limit: Duration) -> ApiError {
    let limit = limit.as_millis();
    ApiError::bad_request(match work {
        WorkClass::Lookup | WorkClass::Search => format!(
            "The query took longer than {limit} ms and was cancelled, because it reads too many rows. Filter or sort by what is indexed: id, displayName (eq, in, startswith or a range), createdDateTime, lastModifiedDateTime, the type (isof or a cast) and, of assignments, the group (any)."
        ),
        WorkClass::Write | WorkClass::WriteGroup => format!(
            "The change took longer than {limit} ms and was cancelled. Nothing was written. Send it in smaller parts."
        ),
    })
}

//! The id and the arrival time of a request.

use tokio::time::Instant;
use uuid::Uuid;

/// The id and the arrival time of a request.
#[derive(Clone, Copy)]
pub struct RequestContext {
    /// The id that the service generated for the request.
    pub request_id: Uuid,
    /// When the request arrived.
    pub at: Instant,
}

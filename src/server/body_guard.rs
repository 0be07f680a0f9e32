//! Keeps two things until an answer is sent: the body of its request, and the mark that the
//! request is in progress.
//!
//! When a handler answers before the body has arrived and drops it, actix-http goes on
//! reading a chunked body for as long as the client sends, without a time limit. A body
//! that is kept until the response is sent makes actix-http close the connection instead.
//!
//! A connection with a request in progress is not idle, see
//! [`client_connections`](super::client_connections).

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::{
    Error, HttpMessage,
    body::{BodySize, BoxBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    middleware::Next,
    web::Bytes,
};
use futures_util::{Stream, stream::poll_fn};

use super::client_connections::{Connection, RequestInProgress};

/// Keeps the body of a request, and counts the request as in progress, until the body of its
/// answer is dropped.
///
/// # Errors
/// Those of the inner service.
pub async fn keep_until_response_sent(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let in_progress = request.request().conn_data().map(Connection::begin_request);
    let payload = match request.take_payload() {
        Payload::None => None,
        payload => {
            let payload = Rc::new(RefCell::new(payload));
            let shared = payload.clone();
            let read = poll_fn(move |context| Pin::new(&mut *shared.borrow_mut()).poll_next(context));
            request.set_payload(Payload::Stream { payload: Box::pin(read) });
            Some(payload)
        }
    };
    let response = next.call(request).await?.map_into_boxed_body();
    Ok(response.map_body(|_, body| BodyGuard { body, _request: payload, _in_progress: in_progress }.boxed()))
}

struct BodyGuard {
    body: BoxBody,
    _request: Option<Rc<RefCell<Payload>>>,
    _in_progress: Option<RequestInProgress>,
}

impl MessageBody for BodyGuard {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}

//! Runs a step: calls the application's own routes in process.

use std::{future::Future, iter, pin::Pin};

use actix_http::Request;
use actix_service::{
    IntoServiceFactory, ServiceFactory,
    boxed::{self, BoxService},
};
use actix_web::{
    Error, HttpMessage, HttpRequest,
    body::BoxBody,
    dev::{AppConfig, Payload, Service, ServiceResponse},
    http::{
        Method, Uri,
        header::{ACCEPT_ENCODING, AUTHORIZATION, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue},
    },
    web::Bytes,
};
use anyhow::anyhow;
use futures_util::stream::once;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use super::answer::Answer;
use crate::{
    database::connections::GroupTransaction,
    error::ApiError,
    server::{cancellation::Client, telemetry::CLIENT_REQUEST_ID},
};

type Application = BoxService<Request, ServiceResponse<BoxBody>, Error>;
type Making = Pin<Box<dyn Future<Output = Result<Application, ()>>>>;

/// A second instance of a worker's application, for the steps of its batches. It is created for
/// the first batch.
pub struct Dispatcher {
    make: Box<dyn Fn(AppConfig) -> Making>,
    made: OnceCell<Application>,
    /// The permits for reads that run concurrently with the first read of a batch.
    concurrent_reads: Semaphore,
}

/// The headers that a step inherits from the request of its batch, unless it sends them itself:
/// they identify the caller and the origin of the request.
const INHERITED: [HeaderName; 7] = [
    AUTHORIZATION,
    CLIENT_REQUEST_ID,
    FORWARDED,
    HOST,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
];

impl Dispatcher {
    /// Creates a dispatcher. `application` creates an instance of the application, which has
    /// this number of connections. Concurrent reads leave half of them to other requests.
    pub fn new<A, F>(connections: u32, application: impl Fn() -> A + 'static) -> Self
    where
        A: IntoServiceFactory<F, Request>,
        F: ServiceFactory<
                Request,
                Config = AppConfig,
                Response = ServiceResponse<BoxBody>,
                Error = Error,
                InitError = (),
            >,
        F::Future: 'static,
        F::Service: 'static,
    {
        let make = move |config| -> Making {
            let made = application().into_factory().new_service(config);
            Box::pin(async move { Ok(boxed::service(made.await?)) })
        };
        let concurrent_reads = Semaphore::new(connections.saturating_sub(1) as usize / 2);
        Self { make: Box::new(make), made: OnceCell::new(), concurrent_reads }
    }

    /// Returns up to `max` permits for concurrent reads, without waiting.
    pub fn concurrent_read_permits(&self, max: usize) -> Vec<SemaphorePermit<'_>> {
        iter::from_fn(|| self.concurrent_reads.try_acquire().ok()).take(max).collect()
    }

    /// Returns the headers of a step of the batch `outer`.
    pub fn headers(outer: &HttpRequest, own: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in INHERITED {
            outer.headers().get_all(&name).for_each(|value| headers.append(name.clone(), value.clone()));
        }
        if let Some(authority) = outer.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
            headers.insert(HOST, authority);
        }
        for name in own.keys() {
            headers.remove(name);
        }
        own.iter().for_each(|(name, value)| headers.append(name.clone(), value.clone()));
        // The answer to a step stands in the JSON of the batch.
        headers.remove(ACCEPT_ENCODING);
        headers
    }

    /// Runs a step as a request of its own.
    ///
    /// # Errors
    /// When the application cannot be created, or the body of its answer breaks off.
    pub async fn answer(
        &self,
        outer: &HttpRequest,
        (method, uri, headers): (Method, Uri, HeaderMap),
        body: Option<String>,
        group: Option<GroupTransaction>,
    ) -> Result<Answer, ApiError> {
        let application = self.made.get_or_try_init(|| (self.make)(outer.app_config().clone())).await;
        let application = application.map_err(|()| ApiError::internal(anyhow!("the application cannot be made")))?;
        let payload: Payload = match body {
            Some(body) => Payload::Stream { payload: Box::pin(once(async { Ok(Bytes::from(body)) })) },
            None => Payload::None,
        };
        let mut request = Request::with_payload(payload);
        if let Some(group) = group {
            request.extensions_mut().insert(group);
        }
        if let Some(client) = Client::of(outer) {
            request.extensions_mut().insert(client);
        }
        let (is_head, path) = (method == Method::HEAD, uri.path().to_owned());
        let head = request.head_mut();
        (head.method, head.uri, head.headers, head.peer_addr) = (method, uri, headers, outer.peer_addr());
        let response = match application.call(request).await {
            Ok(response) => response.into(),
            Err(error) => error.error_response(),
        };
        Answer::read(response, is_head, path).await.map_err(ApiError::internal)
    }
}

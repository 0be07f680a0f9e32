//! A step carried out: the application's own routes, called in process.

use std::{future::Future, pin::Pin};

use actix_http::Request;
use actix_service::{
    IntoServiceFactory, ServiceFactory,
    boxed::{self, BoxService},
};
use actix_web::{
    Error, HttpMessage, HttpRequest, HttpResponse,
    body::{BoxBody, to_bytes},
    dev::{AppConfig, Payload, Service, ServiceResponse},
    http::{
        Method, StatusCode, Uri,
        header::{AUTHORIZATION, CONTENT_TYPE, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue},
    },
    web::Bytes,
};
use anyhow::anyhow;
use futures_util::stream::once;
use tokio::sync::OnceCell;

use crate::{database::connections::Group, error::ApiError, telemetry::CLIENT_REQUEST_ID};

type Application = BoxService<Request, ServiceResponse<BoxBody>, Error>;
type Making = Pin<Box<dyn Future<Output = Result<Application, ()>>>>;

/// A second instance of a worker's application, for the steps of its batches.
/// It is made when the first one comes.
pub struct Dispatcher {
    make: Box<dyn Fn(AppConfig) -> Making>,
    made: OnceCell<Application>,
}

/// What a step takes over from the request of its batch, where it does not say
/// it itself: who calls, and how the client came.
const INHERITED: [HeaderName; 7] = [
    AUTHORIZATION,
    CLIENT_REQUEST_ID,
    FORWARDED,
    HOST,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
];

/// What a step was answered.
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body; empty where there is none.
    pub body: Bytes,
}

impl Dispatcher {
    /// `application` makes an instance of the application.
    pub fn new<A, F>(application: impl Fn() -> A + 'static) -> Self
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
        Self { make: Box::new(make), made: OnceCell::new() }
    }

    /// The headers with which a step of the batch `outer` is carried out.
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
        headers
    }

    /// Carries a step out, as the request that it would be alone.
    ///
    /// # Errors
    /// When there is no instance of the application to ask.
    pub async fn answer(
        &self,
        outer: &HttpRequest,
        (method, uri, headers): (Method, Uri, HeaderMap),
        body: Option<String>,
        group: Option<Group>,
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
        let is_head = method == Method::HEAD;
        let head = request.head_mut();
        (head.method, head.uri, head.headers, head.peer_addr) = (method, uri, headers, outer.peer_addr());
        let response = match application.call(request).await {
            Ok(response) => response.into(),
            Err(error) => error.error_response(),
        };
        Answer::read(response, is_head).await
    }
}

impl Answer {
    /// Reads a response whole; to HEAD without what its body would have been.
    pub async fn read(response: HttpResponse, is_head: bool) -> Result<Self, ApiError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = match is_head {
            true => Bytes::new(),
            false => {
                let bytes = to_bytes(response.into_body()).await;
                bytes.map_err(|error| ApiError::internal(anyhow!("the answer to a step was not whole: {error}")))?
            }
        };
        Ok(Self { status, headers, body })
    }

    /// Whether what depends on it is not carried out.
    pub fn has_failed(&self) -> bool {
        self.status.is_client_error() || self.status.is_server_error()
    }

    /// The media type of the body, without parameters.
    pub fn media_type(&self) -> &str {
        let value = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim()
    }
}

//! Binds the routes of the table to the application, and guards each.

use std::{any::Any, panic::AssertUnwindSafe, sync::LazyLock};

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse, Resource,
    body::{BoxBody, MessageBody},
    dev::{ResourceDef, ServiceRequest, ServiceResponse},
    guard,
    http::Method,
    middleware::{Next, from_fn},
    web::{Data, ServiceConfig, resource, scope, to},
};
use anyhow::anyhow;
use futures_util::FutureExt;

use super::{
    cancellation, expensive,
    metrics::{Metrics, RouteLabels},
    routes::{BATCH, CONFIGURATION, GRAPH_ROUTES, Route, SERVICE_ROUTES},
};
use crate::{
    auth::{Access, Caller},
    catalogue::version::{MOUNTS, Version, mounts},
    database::work::WorkClass,
    error::{ApiError, shorten},
    odata::{etag::Conditions, options::Options, prefer::Preferences},
    resources::configurations::handlers as configurations,
};

impl Route {
    /// Returns the class of work that the route does on the database. A batch itself does none;
    /// its steps do.
    fn work(&self) -> Option<WorkClass> {
        match self.method {
            Method::GET if self.options.contains(&"filter") => Some(WorkClass::Search),
            Method::GET => Some(WorkClass::Lookup),
            _ if self.path == BATCH => None,
            _ => Some(WorkClass::Write),
        }
    }

    fn labels(&'static self, version: Option<Version>) -> RouteLabels {
        let version = version.map_or("none", Version::segment);
        RouteLabels { method: self.method.as_str(), version, route: self.path }
    }
}

/// Returns a function that adds every route to an application. `beta` is the version of `/beta`.
pub fn routes(beta: Version) -> impl Fn(&mut ServiceConfig) + Clone {
    move |service| configure(service, beta)
}

fn configure(service: &mut ServiceConfig, beta: Version) {
    for routes in by_path(SERVICE_ROUTES) {
        service.service(resource_of(routes[0].path, routes));
    }
    for (mount, version) in mounts(beta) {
        let below = |route: &Route| route.path.strip_prefix(CONFIGURATION).filter(|rest| !rest.is_empty());
        // Match the key of a configuration once, and then compare the rest of the path.
        let (mut mounted, mut configuration) = (scope(mount).app_data(version), scope(CONFIGURATION));
        // The routes of a path are all on a version, or none is.
        for routes in by_path(GRAPH_ROUTES).filter(|routes| routes[0].is_on(version)) {
            match below(&routes[0]) {
                Some(rest) => configuration = configuration.service(resource_of(rest, routes)),
                None => mounted = mounted.service(resource_of(routes[0].path, routes)),
            }
        }
        service.service(mounted.service(configuration));
    }
    service.default_service(to(unknown));
}

/// Returns whether a route at this path has an access that `access` accepts.
pub fn has_route(path: &str, access: impl Fn(Access) -> bool) -> bool {
    let such = |route: &&Route| access(route.access);
    let is_below = |route: &Route| {
        MOUNTS.iter().any(|(mount, version)| route.is_on(*version) && path.strip_prefix(mount) == Some(route.path))
    };
    SERVICE_ROUTES.iter().filter(such).any(|route| route.path == path) || GRAPH_ROUTES.iter().filter(such).any(is_below)
}

fn by_path(routes: &'static [Route]) -> impl Iterator<Item = &'static [Route]> {
    routes.chunk_by(|one, next| one.path == next.path)
}

/// Returns the resource of a path with its methods. The handler of GET also answers HEAD.
fn resource_of(path: &str, routes: &'static [Route]) -> Resource {
    let mut allowed = Vec::new();
    let mut resource = resource(path);
    for route in routes {
        let method = route.method.clone();
        allowed.push(method.clone());
        let is_get = method == Method::GET;
        if is_get {
            allowed.push(Method::HEAD);
        }
        let fits = guard::fn_guard(move |request| {
            request.head().method == method || is_get && request.head().method == Method::HEAD
        });
        let check = from_fn(move |request, next| guarded(route, request, next));
        resource = resource.route((route.handler)().guard(fits).wrap(check));
    }
    resource.default_service(to(move || {
        let refusal = ApiError::method_not_allowed(&allowed);
        async move { Err::<HttpResponse, _>(refusal) }
    }))
}

/// Checks a request against its route, runs the handler, and cancels it when the client has
/// disconnected or the database is down.
async fn guarded(
    route: &'static Route,
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    request.extensions_mut().insert(route.labels(request.app_data().copied()));
    let work = route.work();
    if let Some(work) = work {
        request.extensions_mut().insert(work);
    }
    let http_request = request.request().clone();
    let handled = async {
        if let Err(refusal) = check(route, &mut request).await {
            return Ok(request.error_response(refusal));
        }
        match configurations::check_casts(&mut request).await {
            Ok(()) => Ok(next.call(request).await?.map_into_boxed_body()),
            Err(refusal) => Ok(request.error_response(refusal)),
        }
    };
    let handled = handled.map(|answered| {
        answered.map(|response| match work {
            Some(WorkClass::Search) => expensive::refused(response),
            _ => response,
        })
    });
    // A panic is a defect of the service: this request fails, and its connection stays open.
    let handled = AssertUnwindSafe(handled)
        .catch_unwind()
        .map(|ended| ended.unwrap_or_else(|panic| Ok(panic_response(http_request.clone(), &*panic))));
    // A batch is never cancelled as a whole; each of its steps is.
    if work.is_none() {
        return handled.await;
    }
    tokio::select! {
        biased;
        answered = handled => answered,
        answer = cancellation::cancelled(http_request.clone()) => Ok(ServiceResponse::new(http_request.clone(), answer)),
    }
}

/// Counts a panic of a handler, and answers 500. The log has the message.
fn panic_response(request: HttpRequest, panic: &(dyn Any + Send)) -> ServiceResponse<BoxBody> {
    if let Some(metrics) = request.app_data::<Data<Metrics>>() {
        metrics.count_panic();
    }
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message");
    let failure = ApiError::internal(anyhow!("a handler panicked: {text}"));
    ServiceResponse::new(request, HttpResponse::from_error(failure))
}

async fn check(route: &Route, request: &mut ServiceRequest) -> Result<(), ApiError> {
    let options = request.extract::<Options>().await?;
    check_access(route.access, request)?;
    options.check(route.options, Preferences::of(request.headers()).strict)?;
    match route.has_etag {
        true => Ok(()),
        false => Conditions::of(request.headers())?.check_untagged(route.method == Method::GET),
    }
}

/// Checks that the caller may use a route.
///
/// # Errors
/// 403 that names the permissions, 401 when no token was checked.
fn check_access(access: Access, request: &ServiceRequest) -> Result<(), ApiError> {
    match request.extensions().get::<Caller>() {
        // Authentication has already refused a request to a protected document without a
        // caller.
        _ if matches!(access, Access::Open | Access::PublicDocument(_)) => Ok(()),
        Some(caller) if caller.may(access) => Ok(()),
        Some(_) => Err(ApiError::missing_scope(access.permissions())),
        None => Err(ApiError::no_token()),
    }
}

/// The paths that `/v1.0` does not have.
static ONLY_ON_BETA: LazyLock<Vec<ResourceDef>> = LazyLock::new(|| {
    GRAPH_ROUTES.iter().filter(|route| route.is_only_on_beta).map(|route| ResourceDef::new(route.path)).collect()
});

async fn unknown(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let path = request.path();
    let below = path.strip_prefix("/v1.0").unwrap_or(path);
    let remedy = match ONLY_ON_BETA.iter().any(|route| route.is_match(below)) {
        true => "Only /beta has this resource: begin the path with /beta.",
        false => "The resources are below /v1.0/deviceManagement/deviceConfigurations.",
    };
    Err(ApiError::not_found(format!("Resource not found for the path '{}'. {remedy}", shorten(path))))
}

#[cfg(test)]
mod tests {
    use actix_web::{App, body::to_bytes, test::TestRequest};

    use super::*;
    use crate::{
        database::metrics::DatabaseMetrics,
        server::{
            metrics,
            operation::{Answer, Operation, Tag, operation},
            routes::route,
            telemetry,
        },
    };

    const PANIC: Operation = operation("panic", "Panic.", Tag::Service, Answer::Welcome);
    const PANICS: &[Route] = &[
        route(Method::GET, "/panics", Access::Open, || to(panics), PANIC),
        route(Method::POST, "/panics", Access::Open, || to(panics), PANIC),
        // A batch is never cancelled as a whole.
        route(Method::POST, BATCH, Access::Open, || to(panics), PANIC),
    ];

    async fn panics() -> Result<HttpResponse, ApiError> {
        Err(ApiError::internal(anyhow!("{}", [0_u8; 0][std::hint::black_box(0)])))
    }

    #[actix_web::test]
    async fn a_handler_that_panics_is_500_in_the_envelope_and_counted() {
        let metrics = Data::new(Metrics::new(DatabaseMetrics::default()));
        let mut application = App::new().app_data(metrics.clone());
        for entries in by_path(PANICS) {
            application = application.service(resource_of(entries[0].path, entries));
        }
        let application = actix_web::test::init_service(application.wrap(from_fn(telemetry::request))).await;
        for (number, (method, path)) in
            [(Method::GET, "/panics"), (Method::POST, "/panics"), (Method::POST, BATCH)].into_iter().enumerate()
        {
            let request = TestRequest::default().method(method).uri(path).to_request();
            let answer = actix_web::test::call_service(&application, request).await;
            assert_eq!(answer.status(), 500, "{path}");
            assert_eq!(answer.headers().get("content-type").expect("a media type"), "application/json");
            let body = to_bytes(answer.into_body()).await.expect("a body");
            let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(body["error"]["code"], "InternalServerError", "{body}");
            assert!(!body.to_string().contains("index"), "the message of the panic stays inside: {body}");
            let counted = format!("devicegraph_http_panics_total {}\n", number + 1);
            let text = metrics::get(metrics.clone()).await.expect("metrics").into_body();
            let text = to_bytes(text).await.expect("a body");
            assert!(String::from_utf8_lossy(&text).contains(&counted));
        }
    }
}

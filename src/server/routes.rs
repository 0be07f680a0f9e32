//! The route table.
//!
//! Everything that the service answers stands here, with what it asks of its
//! caller; a method that a path does not have is 405 with those it has, any
//! other path is 404.

use std::{any::Any, panic::AssertUnwindSafe};

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse, Resource, Route,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    guard,
    http::Method,
    middleware::{Next, from_fn},
    web::{Data, ServiceConfig, resource, scope, to},
};
use anyhow::anyhow;
use futures_util::FutureExt;

use super::{
    batch, cancellation, docs, health,
    metrics::{self, Metrics, Routed},
    openapi,
};
use crate::{
    auth::{
        Access::{self, Open, Read, ReadWrite, Token},
        Document::{self, Metadata},
    },
    console,
    database::pool::Work,
    error::{ApiError, excerpt},
    odata::{
        etag::Conditions,
        links::Version,
        metadata,
        options::{self, Options},
        prefer::Preferences,
    },
    resources::{
        assignments::handlers as assignments, configurations::handlers as configurations,
        statuses::handlers as statuses,
    },
};

/// A path and a method, what they ask of the caller, and what answers.
pub struct Entry {
    /// As actix-web reads it: `{name}` is any one segment.
    pub path: &'static str,
    /// GET stands for HEAD too.
    pub method: Method,
    /// What the caller must have.
    pub access: Access,
    /// The system query options that it takes.
    pub options: &'static [&'static str],
    /// Whether what is there has an ETag; the handler then heeds `If-Match` and `If-None-Match`.
    pub is_tagged: bool,
    handler: fn() -> Route,
}

/// Where the resources of a version are mounted.
pub const MOUNTS: [(&str, Version); 3] = [("/v1.0", Version::V1), ("/beta", Version::Beta), ("", Version::V1)];

/// What the service says of itself.
pub const OWN: &[Entry] = &[
    entry("/", Method::GET, Open, || to(console::root)),
    entry("/console/console.css", Method::GET, Open, || to(console::file)),
    entry("/console/icon.svg", Method::GET, Open, || to(console::file)),
    entry("/console/main.js", Method::GET, Open, || to(console::file)),
    entry("/console/api.js", Method::GET, Open, || to(console::file)),
    entry("/console/requests.js", Method::GET, Open, || to(console::file)),
    entry("/console/token.js", Method::GET, Open, || to(console::file)),
    entry("/console/list.js", Method::GET, Open, || to(console::file)),
    entry("/console/configuration.js", Method::GET, Open, || to(console::file)),
    entry("/console/assignments.js", Method::GET, Open, || to(console::file)),
    entry("/console/dom.js", Method::GET, Open, || to(console::file)),
    entry("/health/live", Method::GET, Open, || to(health::live)),
    entry("/health/ready", Method::GET, Open, || to(health::ready)),
    entry("/metrics", Method::GET, Access::Document(Document::Metrics), || to(metrics::get)),
    entry("/openapi.json", Method::GET, Access::Document(Document::OpenApi), || to(openapi::get)),
    entry("/docs", Method::GET, Access::Document(Document::Docs), || to(docs::page)),
    entry("/docs/page.js", Method::GET, Access::Document(Document::Docs), || to(docs::script)),
    entry("/docs/swagger-ui.css", Method::GET, Access::Document(Document::Docs), || to(docs::style)),
    entry("/docs/swagger-ui-bundle.js", Method::GET, Access::Document(Document::Docs), || to(docs::bundle)),
];

const BATCH: &str = "/$batch";
const CONFIGURATIONS: &str = "/deviceManagement/deviceConfigurations";
const CONFIGURATIONS_COUNT: &str = "/deviceManagement/deviceConfigurations/$count";
const CONFIGURATION: &str = "/deviceManagement/deviceConfigurations/{configuration}";
const ASSIGN: &str = "/deviceManagement/deviceConfigurations/{configuration}/assign";
const QUALIFIED_ASSIGN: &str = "/deviceManagement/deviceConfigurations/{configuration}/microsoft.graph.assign";
const PLAIN_TEXT: &str =
    "/deviceManagement/deviceConfigurations/{configuration}/getOmaSettingPlainTextValue({arguments})";
const QUALIFIED_PLAIN_TEXT: &str =
    "/deviceManagement/deviceConfigurations/{configuration}/microsoft.graph.getOmaSettingPlainTextValue({arguments})";
const ASSIGNMENTS: &str = "/deviceManagement/deviceConfigurations/{configuration}/assignments";
const ASSIGNMENTS_REF: &str = "/deviceManagement/deviceConfigurations/{configuration}/assignments/$ref";
const ASSIGNMENTS_COUNT: &str = "/deviceManagement/deviceConfigurations/{configuration}/assignments/$count";
const ASSIGNMENT: &str = "/deviceManagement/deviceConfigurations/{configuration}/assignments/{assignment}";
const DEVICE_STATUSES: &str = "/deviceManagement/deviceConfigurations/{configuration}/deviceStatuses";
const DEVICE_STATUS: &str = "/deviceManagement/deviceConfigurations/{configuration}/deviceStatuses/{status}";
const DEVICE_OVERVIEW: &str = "/deviceManagement/deviceConfigurations/{configuration}/deviceStatusOverview";
const USER_STATUSES: &str = "/deviceManagement/deviceConfigurations/{configuration}/userStatuses";
const USER_STATUS: &str = "/deviceManagement/deviceConfigurations/{configuration}/userStatuses/{status}";
const USER_OVERVIEW: &str = "/deviceManagement/deviceConfigurations/{configuration}/userStatusOverview";
const SUMMARIES: &str = "/deviceManagement/deviceConfigurations/{configuration}/deviceSettingStateSummaries";
const SUMMARY: &str = "/deviceManagement/deviceConfigurations/{configuration}/deviceSettingStateSummaries/{status}";

/// The resources of a version. The entries of a path stand together; where two
/// paths fit, the first is meant.
pub const GRAPH: &[Entry] = &[
    Entry {
        path: "/$metadata",
        method: Method::GET,
        access: Access::Document(Metadata),
        options: options::OF_METADATA,
        is_tagged: false,
        handler: || to(metadata::get),
    },
    entry(BATCH, Method::POST, Token, || to(batch::post)),
    query(CONFIGURATIONS, options::OF_COLLECTION, || to(configurations::list)),
    entry(CONFIGURATIONS, Method::POST, ReadWrite, || to(configurations::create)),
    query(CONFIGURATIONS_COUNT, options::OF_COUNT, || to(configurations::count)),
    query(CONFIGURATION, options::OF_ENTITY, || to(configurations::get)).tagged(),
    entry(CONFIGURATION, Method::PATCH, ReadWrite, || to(configurations::update)).tagged(),
    entry(CONFIGURATION, Method::DELETE, ReadWrite, || to(configurations::delete)).tagged(),
    entry(ASSIGN, Method::POST, ReadWrite, || to(assignments::assign)).tagged(),
    entry(QUALIFIED_ASSIGN, Method::POST, ReadWrite, || to(assignments::assign)).tagged(),
    entry(PLAIN_TEXT, Method::GET, ReadWrite, || to(configurations::plain_text)),
    entry(QUALIFIED_PLAIN_TEXT, Method::GET, ReadWrite, || to(configurations::plain_text)),
    query(ASSIGNMENTS, options::OF_LEAVES, || to(assignments::list)).tagged(),
    entry(ASSIGNMENTS, Method::POST, ReadWrite, || to(assignments::create)).tagged(),
    entry(ASSIGNMENTS_REF, Method::POST, ReadWrite, || to(assignments::create)).tagged(),
    query(ASSIGNMENTS_COUNT, options::OF_COUNT, || to(assignments::count)),
    query(ASSIGNMENT, options::OF_LEAF, || to(assignments::get)).tagged(),
    entry(ASSIGNMENT, Method::PATCH, ReadWrite, || to(assignments::update)).tagged(),
    entry(ASSIGNMENT, Method::DELETE, ReadWrite, || to(assignments::delete)).tagged(),
    entry(DEVICE_STATUSES, Method::GET, Read, || to(statuses::list)),
    entry(DEVICE_STATUSES, Method::POST, ReadWrite, || to(statuses::create)),
    entry(DEVICE_STATUS, Method::GET, Read, || to(statuses::get)),
    entry(DEVICE_STATUS, Method::PATCH, ReadWrite, || to(statuses::update)),
    entry(DEVICE_STATUS, Method::DELETE, ReadWrite, || to(statuses::delete)),
    entry(USER_STATUSES, Method::GET, Read, || to(statuses::list)),
    entry(USER_STATUSES, Method::POST, ReadWrite, || to(statuses::create)),
    entry(USER_STATUS, Method::GET, Read, || to(statuses::get)),
    entry(USER_STATUS, Method::PATCH, ReadWrite, || to(statuses::update)),
    entry(USER_STATUS, Method::DELETE, ReadWrite, || to(statuses::delete)),
    entry(SUMMARIES, Method::GET, Read, || to(statuses::list)),
    entry(SUMMARIES, Method::POST, ReadWrite, || to(statuses::create)),
    entry(SUMMARY, Method::GET, Read, || to(statuses::get)),
    entry(SUMMARY, Method::PATCH, ReadWrite, || to(statuses::update)),
    entry(SUMMARY, Method::DELETE, ReadWrite, || to(statuses::delete)),
    entry(DEVICE_OVERVIEW, Method::GET, Read, || to(statuses::overview)),
    entry(USER_OVERVIEW, Method::GET, Read, || to(statuses::overview)),
];

const fn entry(path: &'static str, method: Method, access: Access, handler: fn() -> Route) -> Entry {
    Entry { path, method, access, options: options::NONE, is_tagged: false, handler }
}

/// A read that takes some system query options.
const fn query(path: &'static str, options: &'static [&'static str], handler: fn() -> Route) -> Entry {
    Entry { path, method: Method::GET, access: Read, options, is_tagged: false, handler }
}

impl Entry {
    /// What it does on the database; the requests of a batch do what they do.
    fn work(&self) -> Option<Work> {
        match self.method {
            Method::GET if self.options.contains(&"filter") => Some(Work::Query),
            Method::GET => Some(Work::Read),
            _ if self.path == BATCH => None,
            _ => Some(Work::Write),
        }
    }

    fn routed(&'static self, version: Option<Version>) -> Routed {
        let version = version.map_or("none", Version::segment);
        Routed { method: self.method.as_str(), version, route: self.path }
    }

    const fn tagged(mut self) -> Self {
        self.is_tagged = true;
        self
    }
}

/// Adds every route to an application.
pub fn configure(service: &mut ServiceConfig) {
    for entries in by_path(OWN) {
        service.service(at(entries[0].path, entries));
    }
    for (mount, version) in MOUNTS {
        let below = |entry: &Entry| entry.path.strip_prefix(CONFIGURATION).filter(|rest| !rest.is_empty());
        // The key of a configuration is found once, and what stands behind it is compared.
        let (mut mounted, mut configuration) = (scope(mount).app_data(version), scope(CONFIGURATION));
        for entries in by_path(GRAPH) {
            match below(&entries[0]) {
                Some(rest) => configuration = configuration.service(at(rest, entries)),
                None => mounted = mounted.service(at(entries[0].path, entries)),
            }
        }
        service.service(mounted.service(configuration));
    }
    service.default_service(to(unknown));
}

/// Whether an entry of this path asks for such an access.
pub fn is_at(path: &str, access: impl Fn(Access) -> bool) -> bool {
    let such = |entry: &&Entry| access(entry.access);
    let is_below = |entry: &Entry| MOUNTS.iter().any(|(mount, _)| path.strip_prefix(mount) == Some(entry.path));
    OWN.iter().filter(such).any(|entry| entry.path == path) || GRAPH.iter().filter(such).any(is_below)
}

fn by_path(entries: &'static [Entry]) -> impl Iterator<Item = &'static [Entry]> {
    entries.chunk_by(|one, next| one.path == next.path)
}

/// One path with its methods. What answers GET answers HEAD.
fn at(path: &str, entries: &'static [Entry]) -> Resource {
    let mut allowed = Vec::new();
    let mut resource = resource(path);
    for entry in entries {
        let method = entry.method.clone();
        allowed.push(method.clone());
        let is_get = method == Method::GET;
        if is_get {
            allowed.push(Method::HEAD);
        }
        let fits = guard::fn_guard(move |request| {
            request.head().method == method || is_get && request.head().method == Method::HEAD
        });
        let check = from_fn(move |request, next| permitted(entry, request, next));
        resource = resource.route((entry.handler)().guard(fits).wrap(check));
    }
    resource.default_service(to(move || {
        let refusal = ApiError::method_not_allowed(&allowed);
        async move { Err::<HttpResponse, _>(refusal) }
    }))
}

/// Holds a request to its entry, and gives it up when nobody is helped by it.
async fn permitted(
    entry: &'static Entry,
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    request.extensions_mut().insert(entry.routed(request.app_data().copied()));
    let work = entry.work();
    if let Some(work) = work {
        request.extensions_mut().insert(work);
    }
    let whole = request.request().clone();
    let handled = async {
        if let Err(refusal) = check(entry, &mut request).await {
            return Ok(request.error_response(refusal));
        }
        match configurations::check_casts(&mut request).await {
            Ok(()) => Ok(next.call(request).await?.map_into_boxed_body()),
            Err(refusal) => Ok(request.error_response(refusal)),
        }
    };
    // A panic is a defect of the service: this request fails, and its connection stays open.
    let handled = AssertUnwindSafe(handled)
        .catch_unwind()
        .map(|ended| ended.unwrap_or_else(|panic| Ok(failed(whole.clone(), &*panic))));
    // A batch is never cancelled as a whole; each of its steps is.
    if work.is_none() {
        return handled.await;
    }
    tokio::select! {
        biased;
        answered = handled => answered,
        answer = cancellation::ends(whole.clone()) => Ok(ServiceResponse::new(whole.clone(), answer)),
    }
}

/// Counts a panic of a handler, and answers 500. The log has the message.
fn failed(request: HttpRequest, panic: &(dyn Any + Send)) -> ServiceResponse<BoxBody> {
    if let Some(metrics) = request.app_data::<Data<Metrics>>() {
        metrics.panicked();
    }
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message");
    let failure = ApiError::internal(anyhow!("a handler panicked: {text}"));
    ServiceResponse::new(request, HttpResponse::from_error(failure))
}

async fn check(entry: &Entry, request: &mut ServiceRequest) -> Result<(), ApiError> {
    let options = request.extract::<Options>().await?;
    entry.access.check(request)?;
    options.check(entry.options, Preferences::of(request.headers()).strict)?;
    match entry.is_tagged {
        true => Ok(()),
        false => Conditions::of(request.headers())?.check_untagged(entry.method == Method::GET),
    }
}

async fn unknown(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Err(ApiError::not_found(format!(
        "Resource not found for the path '{}'. What is here begins with /v1.0/deviceManagement/deviceConfigurations.",
        excerpt(request.path()),
    )))
}

#[cfg(test)]
mod tests {
    use actix_web::{App, body::to_bytes, test::TestRequest};

    use super::*;
    use crate::server::telemetry;

    const PANICS: &[Entry] = &[
        entry("/panics", Method::GET, Open, || to(panics)),
        entry("/panics", Method::POST, Open, || to(panics)),
        // A batch is never cancelled as a whole.
        entry(BATCH, Method::POST, Open, || to(panics)),
    ];

    async fn panics() -> Result<HttpResponse, ApiError> {
        Err(ApiError::internal(anyhow!("{}", [0_u8; 0][std::hint::black_box(0)])))
    }

    #[actix_web::test]
    async fn a_handler_that_panics_is_500_in_the_envelope_and_counted() {
        let metrics = Data::new(Metrics::new(metrics::Database::default()));
        let mut application = App::new().app_data(metrics.clone());
        for entries in by_path(PANICS) {
            application = application.service(at(entries[0].path, entries));
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

//! The route table.
//!
//! Everything that the service answers stands here; a method that a path does
//! not have is 405 with those it has, any other path is 404.

use std::sync::atomic::Ordering;

use actix_web::{
    HttpRequest, HttpResponse, Resource, Route, Scope, guard,
    http::Method,
    web::{Data, ServiceConfig, resource, scope, to},
};
use sqlx::PgPool;

use crate::{
    app::Seeded,
    assignments::handlers as assignments,
    configurations::handlers as configurations,
    database,
    error::{ApiError, excerpt},
    odata::links::Version,
};

/// Adds every route to an application.
pub fn configure(service: &mut ServiceConfig) {
    service
        .service(at("/", [(Method::GET, to(welcome))]))
        .service(at("/health/live", [(Method::GET, to(live))]))
        .service(at("/health/ready", [(Method::GET, to(ready))]))
        .service(graph(scope("/v1.0").app_data(Version::V1)))
        .service(graph(scope("/beta").app_data(Version::Beta)))
        .service(graph(scope("").app_data(Version::V1)))
        .default_service(to(unknown));
}

/// The resources of one version.
fn graph(version: Scope) -> Scope {
    use Method as M;
    let all = "/deviceManagement/deviceConfigurations";
    let one = &format!("{all}/{{configuration}}");
    version
        .service(at(all, [(M::GET, to(configurations::list)), (M::POST, to(configurations::create))]))
        .service(at(
            one,
            [
                (M::GET, to(configurations::get)),
                (M::PATCH, to(configurations::update)),
                (M::DELETE, to(configurations::delete)),
            ],
        ))
        .service(at(&format!("{one}/assign"), [(M::POST, to(assignments::assign))]))
        .service(at(&format!("{one}/microsoft.graph.assign"), [(M::POST, to(assignments::assign))]))
        .service(at(
            &format!("{one}/assignments"),
            [(M::GET, to(assignments::list)), (M::POST, to(assignments::create))],
        ))
        .service(at(&format!("{one}/assignments/$ref"), [(M::POST, to(assignments::create))]))
        .service(at(
            &format!("{one}/assignments/{{assignment}}"),
            [(M::GET, to(assignments::get)), (M::PATCH, to(assignments::update)), (M::DELETE, to(assignments::delete))],
        ))
}

/// One path with its methods. What answers GET answers HEAD.
fn at<const N: usize>(path: &str, routes: [(Method, Route); N]) -> Resource {
    let mut allowed = Vec::new();
    let mut resource = resource(path);
    for (method, route) in routes {
        allowed.push(method.clone());
        if method == Method::GET {
            allowed.push(Method::HEAD);
        }
        let is_head = method == Method::GET;
        resource = resource.route(route.guard(guard::fn_guard(move |request| {
            request.head().method == method || is_head && request.head().method == Method::HEAD
        })));
    }
    resource.default_service(to(move || {
        let refusal = ApiError::method_not_allowed(&allowed);
        async move { Err::<HttpResponse, _>(refusal) }
    }))
}

async fn unknown(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Err(ApiError::not_found(format!(
        "Resource not found for the path '{}'. What is here begins with /v1.0/deviceManagement/deviceConfigurations.",
        excerpt(request.path()),
    )))
}

/// What this is, and where to go.
async fn welcome() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "deviceConfigurations": "/v1.0/deviceManagement/deviceConfigurations",
        "ready": "/health/ready",
    }))
}

/// The process is up. Says nothing of the database, so that nobody restarts
/// the service for an outage of it.
async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({"status": "live"}))
}

/// The database answers and holds every migration of this release, and the
/// seed where the settings name one.
async fn ready(pool: Data<PgPool>, seeded: Data<Seeded>) -> Result<HttpResponse, ApiError> {
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

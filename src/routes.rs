//! The route table.
//!
//! Everything that the service answers stands here; a method that a path does
//! not have is 405 with those it has, any other path is 404.

use actix_web::{
    HttpRequest, HttpResponse, Resource, Route, Scope, guard,
    http::Method,
    web::{ServiceConfig, resource, scope, to},
};

use crate::{
    assignments::handlers as assignments,
    configurations::handlers as configurations,
    error::{ApiError, excerpt},
    health,
    odata::links::Version,
};

/// Adds every route to an application.
pub fn configure(service: &mut ServiceConfig) {
    service
        .service(at("/", [(Method::GET, to(health::welcome))]))
        .service(at("/health/live", [(Method::GET, to(health::live))]))
        .service(at("/health/ready", [(Method::GET, to(health::ready))]))
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

//! The files of the page, and their handlers.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{Accept, CONTENT_SECURITY_POLICY, Header, HeaderValue, Quality, VARY},
};

use crate::error::{ApiError, shorten};

/// Allows scripts, styles, images and requests of this origin, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
pub struct File {
    /// The path in the route table.
    pub path: &'static str,
    /// The media type. The text is UTF-8.
    pub media_type: &'static str,
    text: &'static str,
}

/// The files of the page.
pub const FILES: [File; 12] = [
    file_at("/console/console.css", include_str!("console.css")),
    file_at("/console/icon.svg", include_str!("icon.svg")),
    file_at("/console/main.js", include_str!("main.js")),
    file_at("/console/api.js", include_str!("api.js")),
    file_at("/console/requests.js", include_str!("requests.js")),
    file_at("/console/token.js", include_str!("token.js")),
    file_at("/console/list.js", include_str!("list.js")),
    file_at("/console/empty.js", include_str!("empty.js")),
    file_at("/console/sample.json", include_str!("../../docs/sample.json")),
    file_at("/console/configuration.js", include_str!("configuration.js")),
    file_at("/console/assignments.js", include_str!("assignments.js")),
    file_at("/console/dom.js", include_str!("dom.js")),
];

const fn file_at(path: &'static str, text: &'static str) -> File {
    File { path, media_type: media_type(path), text }
}

/// Returns the media type of a file, by the extension of its path.
pub const fn media_type(path: &str) -> &'static str {
    match path.as_bytes() {
        [.., b'.', b'c', b's', b's'] => "text/css",
        [.., b'.', b's', b'v', b'g'] => "image/svg+xml",
        [.., b'.', b'j', b's', b'o', b'n'] => "application/json",
        _ => "text/javascript",
    }
}

/// `GET /`: returns the page to a browser and JSON to a program.
pub async fn root(request: HttpRequest) -> HttpResponse {
    let mut response = match prefers_page(&request) {
        true => HttpResponse::Ok()
            .content_type("text/html;charset=utf-8")
            .insert_header((CONTENT_SECURITY_POLICY, POLICY))
            .body(include_str!("index.html")),
        false => service_info(),
    };
    response.headers_mut().append(VARY, HeaderValue::from_static("Accept"));
    response
}

/// Answers a program with the name of the service and its main paths.
fn service_info() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "deviceConfigurations": "/v1.0/deviceManagement/deviceConfigurations",
        "ready": "/health/ready",
    }))
}

/// Returns whether `Accept` names HTML with the highest quality. Programs without a preference
/// send only `*/*`.
fn prefers_page(request: &HttpRequest) -> bool {
    let Ok(accept) = Accept::parse(request) else { return false };
    let quality = |media_type: &str| {
        let ranges = accept.iter().filter(|range| range.item.essence_str() == media_type);
        ranges.map(|range| range.quality).max().unwrap_or(Quality::ZERO)
    };
    let others = quality("application/json").max(quality("*/*"));
    quality("text/html") >= others.max(Quality::MIN)
}

/// `GET /console/…`
///
/// # Errors
/// 404 when the console has no such file.
pub async fn file(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let path = request.path();
    let Some(file) = FILES.iter().find(|file| file.path == path) else {
        return Err(ApiError::not_found(format!("The console has no file '{}'.", shorten(path))));
    };
    Ok(HttpResponse::Ok().content_type(format!("{};charset=utf-8", file.media_type)).body(file.text))
}

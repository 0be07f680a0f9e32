//! `/openapi.json`, and `/docs`: Swagger UI, served by this service alone. A token that the
//! user types into the page stays in its memory.

use std::sync::OnceLock;

use actix_web::{HttpResponse, http::header::CONTENT_SECURITY_POLICY, web::Data};
use anyhow::anyhow;
use swagger_ui_redist::{SwaggerUi, SwaggerUiStaticFile};

use crate::{auth::Authenticator, error::ApiError};

/// Allows scripts, styles and requests of this origin. The style sheet needs `data:` for
/// images, and elements have inline styles.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; \
connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `/openapi.json` of a service, generated when it is first requested.
pub struct Document {
    generate: Box<dyn Fn(&Authenticator) -> String + Send + Sync>,
    text: OnceLock<String>,
}

impl Document {
    /// Creates a document that `generate` generates on demand.
    pub fn new(generate: impl Fn(&Authenticator) -> String + Send + Sync + 'static) -> Self {
        Self { generate: Box::new(generate), text: OnceLock::new() }
    }
}

/// `GET /openapi.json`
pub async fn openapi(document: Data<Document>, authenticator: Data<Authenticator>) -> HttpResponse {
    let text = document.text.get_or_init(|| (document.generate)(&authenticator));
    // The charset tells `negotiate` not to strip control information from this document.
    HttpResponse::Ok().content_type("application/json;charset=utf-8").body(text.clone())
}

/// `GET /docs`
pub async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html;charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .body(include_str!("docs.html"))
}

/// `GET /docs/page.js`
pub async fn script() -> HttpResponse {
    HttpResponse::Ok().content_type("text/javascript;charset=utf-8").body(include_str!("docs.js"))
}

/// `GET /docs/swagger-ui.css`
pub async fn style() -> Result<HttpResponse, ApiError> {
    asset(&SwaggerUiStaticFile::Css, "text/css;charset=utf-8")
}

/// `GET /docs/swagger-ui-bundle.js`
pub async fn bundle() -> Result<HttpResponse, ApiError> {
    asset(&SwaggerUiStaticFile::Js, "text/javascript;charset=utf-8")
}

fn asset(file: &SwaggerUiStaticFile, media_type: &str) -> Result<HttpResponse, ApiError> {
    match SwaggerUi::static_files().iter().find(|(of, _)| of == file) {
        Some((_, bytes)) => Ok(HttpResponse::Ok().content_type(media_type).body(*bytes)),
        None => Err(ApiError::internal(anyhow!("Swagger UI lacks {}", file.file_name()))),
    }
}

//! `/docs`: Swagger UI with `/openapi.json`, from this service alone. A token
//! that is typed into it stays in the memory of the page.

use actix_web::{HttpResponse, http::header::CONTENT_SECURITY_POLICY};
use anyhow::anyhow;
use swagger_ui_redist::{SwaggerUi, SwaggerUiStaticFile};

use crate::error::ApiError;

/// Scripts, styles and requests of this origin. `data:` is the pictures in the
/// style sheet, and elements bring styles of their own.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; \
connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

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

//! `/openapi.json`, and `/docs`: Swagger UI, served by this service alone. A token that the
//! user types into the page stays in its memory.

use std::io;

use actix_web::{HttpRequest, HttpResponse, http::header::CONTENT_SECURITY_POLICY, web::Data};
use anyhow::anyhow;
use swagger_ui_redist::{SwaggerUi, SwaggerUiStaticFile};

use crate::{auth::Authenticator, catalogue::version::Version, error::ApiError, odata::large_document::LargeDocument};

/// Allows scripts, styles and requests of this origin. The style sheet needs `data:` for
/// images, and elements have inline styles.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; \
connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The extent of a description of the API.
#[derive(Clone, Copy)]
pub enum Extent {
    /// Everything, exactly: `/openapi.json`.
    Whole,
    /// One version, for readers: `/docs`.
    Version(Version),
}

/// Writes a description of the API.
type Write = Box<dyn Fn(&Authenticator, Extent, &mut dyn io::Write) -> serde_json::Result<()> + Send + Sync>;

/// The descriptions of the API of a service, generated on demand.
pub struct Documents {
    write: Write,
    whole: LargeDocument,
    v1: LargeDocument,
    beta: LargeDocument,
}

impl Documents {
    /// Creates the descriptions, which `write` writes.
    pub fn new(write: Write) -> Self {
        let [whole, v1, beta] = [LargeDocument::new(), LargeDocument::new(), LargeDocument::new()];
        Self { write, whole, v1, beta }
    }
}

/// The arguments of the handlers of the descriptions.
type Parts = (HttpRequest, Data<Documents>, Data<Authenticator>);

async fn describe((request, documents, authenticator): Parts, extent: Extent) -> Result<HttpResponse, ApiError> {
    let document = match extent {
        Extent::Whole => &documents.whole,
        Extent::Version(Version::V1) => &documents.v1,
        Extent::Version(_) => &documents.beta,
    };
    let write = |output: &mut dyn io::Write| Ok((documents.write)(&authenticator, extent, output)?);
    // The charset tells `negotiate` not to strip control information from this document.
    document.answer(&request, "application/json;charset=utf-8", write).await
}

/// `GET /openapi.json`
pub async fn openapi(parts: Parts) -> Result<HttpResponse, ApiError> {
    describe(parts, Extent::Whole).await
}

/// `GET /docs/v1.0.json`
pub async fn openapi_of_v1(parts: Parts) -> Result<HttpResponse, ApiError> {
    describe(parts, Extent::Version(Version::V1)).await
}

/// `GET /docs/beta.json`
pub async fn openapi_of_beta(parts: Parts) -> Result<HttpResponse, ApiError> {
    describe(parts, Extent::Version(Version::Beta)).await
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

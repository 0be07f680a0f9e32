//! Every error answer, with its status and code.
//!
//! [`ApiError`] is the only error that a handler returns. `server/envelope.rs` writes its body
//! in Graph's form, and no other code writes an error body. The client gets the message and the
//! log gets the cause. SQL, file paths and Rust types never reach a client.
//!
//! Form: <https://learn.microsoft.com/graph/errors>

use std::{borrow::Cow, fmt, time::Duration};

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        Method, StatusCode,
        header::{ALLOW, ETAG, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
    },
};

/// Every kind of error, with the status and the code of Graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The request cannot be read: JSON, encoding, query options.
    BadRequest,
    /// The body is valid JSON, but not a valid instance of the expected type.
    ModelValidationFailure,
    /// The caller is not authenticated.
    InvalidAuthenticationToken,
    /// The caller lacks a permission.
    Forbidden,
    /// No route has this path, or no row has this key.
    ResourceNotFound,
    /// The path exists, but not with this method.
    MethodNotAllowed,
    /// The client accepts no format that the service can answer.
    NotAcceptable,
    /// Another row already has this id or this target.
    Conflict,
    /// The condition of the request does not hold.
    PreconditionFailed,
    /// A prerequisite of a step of a batch has failed.
    FailedDependency,
    /// The client took too long to send the body.
    RequestTimeout,
    /// The body is larger than `server.max_body_bytes`.
    RequestEntityTooLarge,
    /// The body is not JSON, or has an encoding that the service does not support.
    UnsupportedMediaType,
    /// A defect of the service. The message has no details.
    InternalServerError,
    /// The connection to the database was lost in the middle of a write.
    OutcomeUnknown,
    /// The database cannot be reached in time. Nothing was written.
    ServiceUnavailable,
    /// The request names a host that is not the service's.
    MisdirectedRequest,
}

impl Code {
    /// Every code, for tests.
    pub const ALL: [Self; 17] = [
        Self::BadRequest,
        Self::ModelValidationFailure,
        Self::InvalidAuthenticationToken,
        Self::Forbidden,
        Self::ResourceNotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::RequestTimeout,
        Self::Conflict,
        Self::PreconditionFailed,
        Self::FailedDependency,
        Self::RequestEntityTooLarge,
        Self::UnsupportedMediaType,
        Self::InternalServerError,
        Self::OutcomeUnknown,
        Self::ServiceUnavailable,
        Self::MisdirectedRequest,
    ];

    /// Returns the status and the `error.code` of the answer.
    ///
    /// Graph sends `Request_BadRequest` for a wrong method and `RequestBodyRead` for a wrong
    /// media type. An unknown outcome is 500, because clients automatically retry a 503.
    pub const fn wire(self) -> (StatusCode, &'static str) {
        match self {
            Self::BadRequest => (StatusCode::BAD_REQUEST, "BadRequest"),
            Self::ModelValidationFailure => (StatusCode::BAD_REQUEST, "ModelValidationFailure"),
            Self::InvalidAuthenticationToken => (StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "Forbidden"),
            Self::ResourceNotFound => (StatusCode::NOT_FOUND, "ResourceNotFound"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "Request_BadRequest"),
            Self::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, "NotAcceptable"),
            Self::Conflict => (StatusCode::CONFLICT, "Conflict"),
            Self::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, "PreconditionFailed"),
            Self::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, "RequestTimeout"),
            Self::FailedDependency => (StatusCode::FAILED_DEPENDENCY, "FailedDependency"),
            Self::RequestEntityTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge"),
            Self::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "RequestBodyRead"),
            Self::InternalServerError => (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError"),
            Self::OutcomeUnknown => (StatusCode::INTERNAL_SERVER_ERROR, "OutcomeUnknown"),
            Self::ServiceUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            Self::MisdirectedRequest => (StatusCode::MISDIRECTED_REQUEST, "MisdirectedRequest"),
        }
    }
}

/// The message of every failure that the client did not cause.
pub const FAILED: &str = "The service could not execute this request. The log of the service has the cause under the request-id of this answer.";

/// Shortens a text of the client for a message, and escapes control characters.
pub fn shorten(text: &str) -> String {
    const MAX_QUOTED_CHARS: usize = 100;
    let mut shorten = String::new();
    for letter in text.chars().take(MAX_QUOTED_CHARS) {
        if letter.is_control() { shorten.extend(letter.escape_default()) } else { shorten.push(letter) }
    }
    if text.chars().nth(MAX_QUOTED_CHARS).is_some() {
        shorten.push('…');
    }
    shorten
}

/// An error answer: the message for the client, and the cause for the log.
#[derive(Debug)]
pub struct ApiError {
    code: Code,
    message: Cow<'static, str>,
    header: Option<(HeaderName, HeaderValue)>,
    cause: Option<anyhow::Error>,
}

impl ApiError {
    /// Returns the kind of error.
    pub fn code(&self) -> Code {
        self.code
    }

    fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), header: None, cause: None }
    }

    /// Returns a 400: the request cannot be read.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::BadRequest, message)
    }

    /// Returns a 400: the body is not a valid instance of its type.
    pub fn model(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::ModelValidationFailure, message)
    }

    /// Returns a 401: the request has no token.
    pub fn no_token() -> Self {
        Self::challenge(
            Code::InvalidAuthenticationToken,
            "Access token is empty. Send one header 'Authorization: Bearer {token}'.",
            "",
        )
    }

    /// Returns a 401: the token is not valid.
    pub fn bad_token(message: impl Into<Cow<'static, str>>) -> Self {
        Self::challenge(Code::InvalidAuthenticationToken, message, r#", error="invalid_token""#)
    }

    /// Returns a 403: the token has none of the permissions. The caller needs one of them.
    pub fn missing_scope(permissions: &[&str]) -> Self {
        let scope = format!(r#", error="insufficient_scope", scope="{}""#, permissions.join(" "));
        let message = format!(
            "Application is not authorized to perform this operation. Application must have one of the following scopes: {}. Get a token that has it, in 'scp' for a user or in 'roles' for an application.",
            permissions.join(", ")
        );
        Self::challenge(Code::Forbidden, message, &scope)
    }

    /// Returns a 403: a personal account belongs to no organization.
    pub fn personal_account() -> Self {
        Self::new(
            Code::Forbidden,
            "Personal Microsoft accounts are not supported. Sign in with an account of an organization.",
        )
    }

    /// Adds the header `WWW-Authenticate` (RFC 6750, 3).
    fn challenge(code: Code, message: impl Into<Cow<'static, str>>, parameters: &str) -> Self {
        let value = HeaderValue::from_str(&format!(r#"Bearer realm="devicegraph"{parameters}"#));
        Self { header: value.ok().map(|value| (WWW_AUTHENTICATE, value)), ..Self::new(code, message) }
    }

    /// Returns a 404.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::ResourceNotFound, message)
    }

    /// Returns a 406: the service cannot answer in a format that the client accepts.
    pub fn not_acceptable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::NotAcceptable, message)
    }

    /// Returns a 409. The message names the conflicting row.
    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Conflict, message)
    }

    /// Returns a 412: the condition does not hold. `etag` is the current ETag.
    pub fn precondition_failed(message: String, etag: Option<HeaderValue>) -> Self {
        Self { header: etag.map(|value| (ETAG, value)), ..Self::new(Code::PreconditionFailed, message) }
    }

    /// Returns a 412: the resource has no ETag, which this header needs.
    pub fn untagged(header: &HeaderName) -> Self {
        let message = format!(
            "The header {header} cannot be applied, because this resource has no ETag. Only configurations and their assignments have one. Leave the header out."
        );
        Self::new(Code::PreconditionFailed, message)
    }

    /// Returns a 421: the request names a host that is not a name of this service.
    pub fn misdirected(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::MisdirectedRequest, message)
    }

    /// Returns a 424: a step of a batch did not run, or was rolled back.
    pub fn failed_dependency(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::FailedDependency, message)
    }

    /// Returns a 413: the body is larger than the limit, after decoding.
    pub fn too_large(limit: usize) -> Self {
        Self::new(
            Code::RequestEntityTooLarge,
            format!(
                "The request body is larger than {limit} bytes, which is the limit. Send a smaller body, or split it into several requests."
            ),
        )
    }

    /// Returns a 413: the body has more JSON values than the limit.
    pub fn too_many_values(limit: usize) -> Self {
        Self::new(
            Code::RequestEntityTooLarge,
            format!(
                "The request body has more than {limit} JSON values, which is the limit. An object with members counts as two. Send a smaller body, or split it into several requests."
            ),
        )
    }

    /// Returns a 408: the body did not arrive in time.
    pub fn timeout(limit: Duration) -> Self {
        let seconds = limit.as_secs();
        Self::new(
            Code::RequestTimeout,
            format!("The request body did not arrive within {seconds} seconds. Send the request again."),
        )
    }

    /// Returns a 415: the body is not JSON, or has an encoding that the service does not
    /// support.
    pub fn media_type(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::UnsupportedMediaType, message)
    }

    /// Returns a 405 with the methods that the path supports.
    pub fn method_not_allowed(allowed: &[Method]) -> Self {
        let allowed = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        let header = HeaderValue::from_str(&allowed).ok().map(|value| (ALLOW, value));
        let message = format!("Specified HTTP method is not allowed for the request target. Use one of: {allowed}.");
        Self { header, ..Self::new(Code::MethodNotAllowed, message) }
    }

    /// Returns a 503: nothing was written, so the client may send the request again.
    pub fn unavailable(cause: impl Into<anyhow::Error>) -> Self {
        Self {
            header: Some((RETRY_AFTER, HeaderValue::from_static("1"))),
            cause: Some(cause.into()),
            ..Self::new(Code::ServiceUnavailable, FAILED)
        }
    }

    /// Returns a 503: the bodies of other requests use the memory for bodies.
    pub fn too_many_bodies() -> Self {
        let header = Some((RETRY_AFTER, HeaderValue::from_static("1")));
        let message =
            "The service is reading too many large bodies at the moment. Nothing was written. Send the request again.";
        Self { header, ..Self::new(Code::ServiceUnavailable, message) }
    }

    /// Returns the 503 of a service that is shutting down. It has no cause, so that the log
    /// does not repeat it for each request.
    pub fn shutting_down() -> Self {
        let header = Some((RETRY_AFTER, HeaderValue::from_static("1")));
        Self { header, ..Self::new(Code::ServiceUnavailable, FAILED) }
    }

    /// Returns a 500: a defect. Only the log gets the cause.
    pub fn internal(cause: impl Into<anyhow::Error>) -> Self {
        Self { cause: Some(cause.into()), ..Self::new(Code::InternalServerError, FAILED) }
    }

    /// Converts the error of a statement that commits a write.
    ///
    /// When the connection was lost during the statement, the write may be committed or not.
    /// Only a read of `resource` can tell.
    pub fn from_commit(error: sqlx::Error, resource: impl fmt::Display) -> Self {
        if !is_connection_lost(&error) {
            return error.into();
        }
        Self { cause: Some(error.into()), ..Self::outcome_unknown(resource) }
    }

    /// Returns a 500: only a read of `resource` can tell whether the change was written.
    pub fn outcome_unknown(resource: impl fmt::Display) -> Self {
        let message = format!(
            "The connection to the database was lost while this change was being written. Read {resource} to find out whether the change was written."
        );
        Self::new(Code::OutcomeUnknown, message)
    }

    /// Adds the cause for the log.
    pub fn caused_by(self, cause: anyhow::Error) -> Self {
        Self { cause: Some(cause), ..self }
    }

    /// Returns whether the outcome of the change is unknown.
    pub fn is_outcome_unknown(&self) -> bool {
        self.code == Code::OutcomeUnknown
    }

    /// Returns whether the client caused the error.
    pub fn is_of_client(&self) -> bool {
        self.code.wire().0.is_client_error()
    }

    /// Converts the error for a command, which has no log that the message could refer to.
    pub fn into_error(self) -> anyhow::Error {
        self.cause.unwrap_or_else(|| anyhow::Error::msg(self.message))
    }

    /// Returns the cause, for the log.
    pub fn cause(&self) -> Option<&anyhow::Error> {
        self.cause.as_ref()
    }
}

impl From<sqlx::Error> for ApiError {
    /// Converts the error of a statement that does not commit a write.
    fn from(error: sqlx::Error) -> Self {
        let may_pass = is_transient(&error) || is_connection_lost(&error);
        if may_pass { Self::unavailable(error) } else { Self::internal(error) }
    }
}

/// Returns whether a retry can succeed soon. Nothing was written.
pub fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
        // 40: rolled back because of a deadlock or a serialization failure. 53, 55P03 and
        // 57014: out of resources, lock timeout and statement timeout. 42P01: a table is
        // missing, because the database has no migrations yet.
        sqlx::Error::Database(database) => database.code().is_some_and(|code| {
            code.starts_with("40") || code.starts_with("53") || ["55P03", "57014", "42P01"].contains(&&*code)
        }),
        _ => false,
    }
}

/// Returns whether the connection was lost, so that the outcome of the statement is unknown.
pub fn is_connection_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        // 08: the connection broke. 57P01 to 57P03: the server is stopping, crashed or is
        // starting.
        sqlx::Error::Database(database) => {
            database.code().is_some_and(|code| code.starts_with("08") || code.starts_with("57P"))
        }
        _ => false,
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.code.wire().0
    }

    /// Returns only status and headers. The body needs the ids of the request, so
    /// `server/envelope.rs` writes it later.
    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::new(self.status_code());
        if let Some((name, value)) = &self.header {
            response.headers_mut().insert(name.clone(), value.clone());
        }
        response
    }
}

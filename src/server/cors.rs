//! Rules for browsers: the origins whose pages may call the API, and security headers.

use std::time::Duration;

use actix_cors::Cors;
use actix_web::{
    http::{
        Uri,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, LOCATION, REFERRER_POLICY, RETRY_AFTER,
            STRICT_TRANSPORT_SECURITY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
        },
        uri::Authority,
    },
    middleware::{Condition, DefaultHeaders},
};
use anyhow::ensure;

use super::telemetry::{CLIENT_REQUEST_ID, REQUEST_ID};
use crate::{config, odata::prefer::PREFERENCE_APPLIED};

/// How long a browser may cache the answer to a preflight request.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// The rules for browsers.
#[derive(Clone)]
pub struct BrowserPolicy {
    origins: Vec<String>,
    is_https: bool,
}

impl BrowserPolicy {
    /// Creates the rules. Only the pages of `server.cors_origins` may call the API.
    ///
    /// # Errors
    /// When an entry is not an origin. `*` is not accepted: while authorization is disabled, it
    /// would let every web page change everything.
    pub fn new(settings: &config::Server) -> anyhow::Result<Self> {
        let origins = &settings.cors_origins.0;
        for origin in origins {
            let uri = origin.parse::<Uri>().ok();
            // As a browser sends it: no user, no default port, no capital letters.
            let is_origin = uri.is_some_and(|uri| {
                let (scheme, host) =
                    (uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", Authority::as_str));
                let default_port = if scheme == "https" { ":443" } else { ":80" };
                ["http", "https"].contains(&scheme)
                    && !host.contains('@')
                    && !host.ends_with(default_port)
                    && *origin == format!("{scheme}://{host}").to_lowercase()
            });
            ensure!(
                is_origin,
                "server.cors_origins: '{origin}' is not an origin; write it as a browser sends it, https://example.com or http://localhost:3000"
            );
        }
        Ok(Self { origins: origins.clone(), is_https: settings.scheme() == "https" })
    }

    /// Returns the middleware that answers preflight requests and lets pages of the origins
    /// read answers.
    pub fn cors(&self) -> Condition<Cors> {
        let cors = self.origins.iter().fold(Cors::default(), |cors, origin| cors.allowed_origin(origin));
        let cors = cors
            .allowed_methods(["GET", "HEAD", "POST", "PATCH", "DELETE"])
            .allow_any_header()
            .expose_headers([
                CLIENT_REQUEST_ID,
                ETAG,
                LOCATION,
                PREFERENCE_APPLIED,
                REQUEST_ID,
                RETRY_AFTER,
                WWW_AUTHENTICATE,
            ])
            .max_age(MAX_AGE.as_secs() as usize);
        Condition::new(!self.origins.is_empty(), cors)
    }

    /// Returns the security headers of every answer: no caching, no scripts, no frames.
    pub fn headers(&self) -> DefaultHeaders {
        let headers = DefaultHeaders::new()
            .add((CACHE_CONTROL, "no-store"))
            .add((CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"))
            .add((REFERRER_POLICY, "no-referrer"))
            .add((X_CONTENT_TYPE_OPTIONS, "nosniff"));
        match self.is_https {
            true => headers.add((STRICT_TRANSPORT_SECURITY, "max-age=31536000")),
            false => headers,
        }
    }
}

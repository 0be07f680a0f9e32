//! Checks the host name of requests while authorization is disabled.
//!
//! Without this check, the service is open to DNS rebinding: a web page of another site makes
//! its own host name resolve to 127.0.0.1. Its scripts then reach a service on this machine,
//! and the browser lets them read the answers. Such a request names the host of that page. So a
//! service that requires no token refuses every name that can be resolved from outside.

use std::net::{Ipv4Addr, Ipv6Addr};

use actix_web::{
    Error,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::HOST,
    middleware::Next,
    web::Data,
};
use anyhow::ensure;

use crate::{
    config::Server,
    error::{ApiError, shorten},
    odata::links::Forwarded,
};

/// The accepted host names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedHosts {
    /// Every name, because callers authenticate with a token.
    All,
    /// Names that only this machine or its network can resolve, and these names.
    LocalAnd(Vec<String>),
}

impl AllowedHosts {
    /// Creates the list from `server.allowed_hosts` and `server.host`. Accepts every name when
    /// callers need a token.
    ///
    /// # Errors
    /// When no request could name an entry of `server.allowed_hosts`.
    pub fn new(settings: &Server, requires_token: bool) -> anyhow::Result<Self> {
        for name in &settings.allowed_hosts.0 {
            ensure!(
                normalize(name).split('.').all(is_label),
                "server.allowed_hosts: '{name}' is not a host name, so no request could match it; write each name in full, without scheme, port, path, wildcard and leading dot, as in devices.example.com"
            );
        }
        let names = settings.allowed_hosts.0.iter().chain([&settings.host]);
        Ok(if requires_token { Self::All } else { Self::LocalAnd(names.map(|name| normalize(name)).collect()) })
    }

    /// Returns whether a request may name this host, with or without a port.
    fn allows(&self, host: &str) -> bool {
        let Self::LocalAnd(names) = self else { return true };
        let name = normalize(without_port(host));
        let is_local = name == "localhost" || name.ends_with(".localhost") || is_address(&name);
        // A name without a dot belongs to the local network, such as a service of a compose
        // file.
        is_local || is_label(&name) || names.contains(&name)
    }
}

fn normalize(name: &str) -> String {
    name.trim().strip_suffix('.').unwrap_or(name.trim()).to_ascii_lowercase()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_address(name: &str) -> bool {
    let v6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    name.parse::<Ipv4Addr>().is_ok() || v6.is_some_and(|name| name.parse::<Ipv6Addr>().is_ok())
}

fn is_label(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"-_".contains(&letter))
}

/// Answers 421 to a request for a host that is not allowed.
///
/// # Errors
/// None: a refusal is a response.
pub async fn check(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if let Some(allowed) = request.app_data::<Data<AllowedHosts>>() {
        // HTTP/2, and HTTP/1.1 through a proxy, have the host in the request target.
        let target = request.uri().authority().map(|authority| authority.as_str().to_owned());
        let headers =
            request.headers().get_all(HOST).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        // Behind a proxy, the forwarding headers have the host that the client called.
        let is_forwarded = request.app_data().is_some_and(|Forwarded(is_trusted)| *is_trusted);
        let forwarded = is_forwarded.then(|| request.connection_info().host().to_owned());
        let refused =
            target.into_iter().chain(headers).chain(forwarded).find(|host| !host.is_empty() && !allowed.allows(host));
        if let Some(host) = refused {
            return Ok(request.error_response(ApiError::misdirected(format!(
                "The request names the host '{}', which is not a name of this service. Call the service by its IP address or as localhost, or ask an operator to add the name to server.allowed_hosts.",
                shorten(&host)
            ))));
        }
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Names, Settings};

    fn allowed() -> AllowedHosts {
        AllowedHosts::LocalAnd(vec!["graph.example.com".to_owned()])
    }

    #[test]
    fn names_of_this_network_and_of_the_setting_are_allowed() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "a.b.localhost:1",
            "127.0.0.1",
            "10.1.2.3:8080",
            "[::1]",
            "[::1]:8080",
            "[fe80::1]:80",
            "devicegraph:8080",
            "my_service",
            "graph.example.com",
            "Graph.Example.COM.:443",
        ] {
            assert!(allowed().allows(host), "{host}");
        }
    }

    #[test]
    fn an_entry_that_no_request_could_match_is_refused() {
        let new = |entry: &str, requires_token| {
            let defaults = config::File::from_str(include_str!("../default.toml"), config::FileFormat::Toml);
            let defaults = config::Config::builder().add_source(defaults).build();
            let mut settings: Settings = defaults.and_then(config::Config::try_deserialize).expect("settings");
            settings.server.allowed_hosts = Names(vec!["graph.example.com".to_owned(), entry.to_owned()]);
            AllowedHosts::new(&settings.server, requires_token)
        };
        for entry in [
            ".example.com",
            "*.example.com",
            "*",
            "graph.example.com:443",
            "https://graph.example.com",
            "graph.example.com/path",
            "user@graph.example.com",
            "[::1]",
            "a..example.com",
            "a b.example.com",
            "é.example.com",
            ".",
        ] {
            for requires_token in [false, true] {
                let refusal = new(entry, requires_token).expect_err(entry).to_string();
                let expected =
                    format!("server.allowed_hosts: '{entry}' is not a host name, so no request could match it; write");
                assert!(refusal.starts_with(&expected), "{refusal}");
            }
        }
        for entry in ["a_b.Example.com.", " 10.1.2.3", "xn--9ca.example.com", "devicegraph"] {
            let allowed = new(entry, false).expect(entry);
            assert!(allowed.allows(entry.trim()), "{entry}");
        }
    }

    #[test]
    fn every_other_name_is_refused() {
        for host in [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "xlocalhost.example",
            "a.graph.example.com",
            "graph.example.com.evil.example",
            "example.com",
            "::1.evil",
            "[::1].evil.example",
            "[evil.example]",
            "evil.example\u{0}",
            "a b",
            "user@localhost",
            "127.0.0.1:80.evil.example",
            "é.localhost.example",
        ] {
            assert!(!allowed().allows(host), "{host}");
        }
        assert!(AllowedHosts::All.allows("evil.example"));
    }
}

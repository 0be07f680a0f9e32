//! The HTTP server: accepts connections, negotiates TLS, and passes them to actix-http.
//!
//! `actix_web::HttpServer` shows a connection only after its TLS handshake. Clients that never
//! complete a handshake could then take every place. This module builds the same server from
//! its parts, so that a connection is registered when it is accepted.

use std::{fmt::Debug, io, net::TcpListener, rc::Rc, sync::Arc, time::Duration};

use actix_http::{HttpService, Protocol, Request, Response, error::DispatchError};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::{
    Error,
    body::MessageBody,
    dev::{AppConfig, Server},
    rt::net::TcpStream,
};
use anyhow::Context;
use rustls::ServerConfig;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::{
    client_connections::{ClientConnections, Limits},
    client_stream::{ClientStream, Transport},
};
use crate::config;

/// How long the service reads from a client after its last answer, so that the client receives
/// that answer.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Returns the server on `listener`. Each worker calls `application` once.
///
/// # Errors
/// When the listener cannot be served.
pub fn build<F, I, S, B>(
    settings: &config::Server,
    listener: TcpListener,
    workers: usize,
    tls: Option<ServerConfig>,
    application: F,
) -> anyhow::Result<Server>
where
    F: Fn() -> I + Clone + Send + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Error> + 'static,
    S::InitError: Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let address = listener.local_addr()?;
    let limits = Limits::new(settings, workers);
    let keep_alive = Duration::from_secs(settings.keep_alive_seconds);
    let head_timeout = Duration::from_secs(settings.request_timeout_seconds);
    let handshake_timeout = Duration::from_secs(settings.tls_handshake_timeout_seconds);
    let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    let server = actix_server::Server::build()
        .workers(workers)
        .max_concurrent_connections(limits.max)
        .disable_signals()
        .shutdown_timeout(settings.shutdown_seconds);
    let shutdown = server.graceful_shutdown_signal();
    let server = server.listen("devicegraph", listener, move || {
        let connections = ClientConnections::start(limits.clone());
        let (is_secure, tls, shutdown) = (tls.is_some(), tls.clone(), shutdown.clone());
        let application = application().into_factory().map_err(|error| error.into().error_response());
        // actix-web has no other constructor for the address and the scheme that links use, and
        // actix-http no other way to close idle connections on shutdown.
        let served_at = move |()| AppConfig::__priv_test_new(is_secure, address.to_string(), address);
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let shutdown = shutdown.clone();
                async move { shutdown.notified().await }
            })
            .keep_alive(keep_alive)
            .client_request_timeout(head_timeout)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .local_addr(address)
            .on_connect_ext(ClientStream::remember)
            .finish(map_config(application, served_at));
        fn_service(move |stream| accept(connections.clone(), tls.clone(), handshake_timeout, stream)).and_then(http)
    });
    Ok(server.context("cannot serve the listener")?.run())
}

/// A connection as actix-http takes it.
type Accepted = (ClientStream, Protocol, Option<std::net::SocketAddr>);

/// Registers a connection and negotiates TLS.
async fn accept(
    connections: Rc<ClientConnections>,
    tls: Option<TlsAcceptor>,
    handshake_timeout: Duration,
    stream: TcpStream,
) -> Result<Accepted, DispatchError> {
    let ended = || DispatchError::Io(io::ErrorKind::ConnectionAborted.into());
    let peer = stream.peer_addr().ok();
    let connection = connections.register(peer.map(|peer| peer.ip())).ok_or_else(ended)?;
    let transport = match tls {
        Some(tls) => {
            let handshake = timeout(handshake_timeout, tls.accept(stream));
            let finished = tokio::select! {
                finished = handshake => finished.map_err(|_| ended())?,
                () = connection.ended() => return Err(ended()),
            };
            Transport::Tls(Box::new(finished?))
        }
        None => Transport::Plain(stream),
    };
    Ok((ClientStream::new(transport, connection), Protocol::Http1, peer))
}

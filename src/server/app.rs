//! The service put together: bind, open the database, migrate, serve, stop.

use std::{
    future::pending,
    net::TcpListener,
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::available_parallelism,
    time::Duration,
};

use actix_web::{App, HttpServer, dev, middleware::from_fn, web::Data};
use anyhow::{Context, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sqlx::PgPool;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    batch::dispatch::Dispatcher,
    body_guard,
    cancellation::Client,
    cors::Browsers,
    health::{self, Seeded, Stopping},
    hosts::{self, AllowedHosts},
    metrics::Metrics,
    openapi::Document,
    paths, routes, telemetry,
};
use crate::{
    auth::{self, Gate},
    config::{self, Settings},
    database::{self, Database, pool::Pools, session::Session},
    import_export,
    odata::{body, links::Forwarded, negotiate, paging::PageSizes, url},
    resources::{
        assignments::{self, loaders::SetReader, writer::Writer},
        configurations::{self, vault::Vault},
    },
    tls::Certificate,
};

/// Runs the service until a signal stops it.
///
/// # Errors
/// Whatever keeps it from starting, in one line that names the remedy.
pub async fn run(settings: &Settings) -> anyhow::Result<()> {
    let mut stop = Stop::new()?;
    allow_files(&settings.server)?;
    let service = Service::new(settings)?;
    // First, since it takes no time to fail: what connects early waits until the rest is up.
    let listener = listen(&settings.server)?;
    let database = tokio::select! {
        opened = Database::open(&settings.database) => opened?,
        () = stop.wait() => return Ok(()),
    };
    let prepared = tokio::select! {
        prepared = prepare(&settings.database, &database) => prepared.map(|()| true),
        () = stop.wait() => Ok(false),
    };
    let served = match prepared {
        Ok(true) => serve(&service, listener, &database, stop).await,
        stopped => stopped.map(drop),
    };
    database.close().await;
    served
}

async fn prepare(settings: &config::Database, database: &Database) -> anyhow::Result<()> {
    match settings.migrate {
        true => database.migrate().await,
        false => database.check_unknown().await,
    }
}

async fn serve(service: &Service, listener: TcpListener, database: &Database, mut stop: Stop) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let settings = &service.settings.database;
    let workers = available_parallelism().map_or(1, NonZero::get).min(settings.max_connections as usize);
    let pools = database.pools(settings, workers);
    let server = service.server(listener, workers, pools.clone())?;
    if let Gate::Disabled = **service.gate {
        tracing::warn!("authorization is disabled: everyone who can reach {address} may read and change everything");
    }
    tracing::info!("listening on {}://{address}", service.settings.server.scheme());
    let handle = server.handle();
    let stopping = async {
        stop.wait().await;
        service.stopping.0.store(true, Ordering::Release);
        let drain = service.settings.server.drain_seconds;
        if drain > 0 {
            tracing::info!("draining: for {drain} s not ready, and serving what comes all the same");
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(drain)) => {}
                () = stop.wait() => {}
            }
        }
        tracing::info!("stopping: finishing the requests in flight");
        tokio::spawn(handle.stop(true));
        stop.wait().await;
        tracing::warn!("told twice: not waiting for the requests in flight");
    };
    let seeding = async {
        seed(settings, &database.pool, &service.vault, &service.seeded).await?;
        if settings.migrate
            && let Err(error) = database::validate_constraints(&database.pool).await
        {
            tracing::warn!(%error, "the constraints were not validated; the next start tries again");
        }
        pending().await
    };
    tokio::select! {
        served = server => served.context("the server failed"),
        failed = seeding => failed,
        () = service.keep() => Ok(()),
        () = pools.watch() => Ok(()),
        () = stopping => Ok(()),
    }
}

/// Fills a database that has no configuration. The service is live meanwhile
/// and not ready.
async fn seed(settings: &config::Database, pool: &PgPool, vault: &Vault, seeded: &Seeded) -> anyhow::Result<()> {
    let Some(path) = &settings.seed else { return Ok(()) };
    while !database::is_migrated(pool).await? {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    if let Some(done) = import_export::seed_if_empty(pool, vault, path).await.context("database.seed")? {
        tracing::info!(configurations = done.created, "seeded from {}", path.display());
    }
    seeded.0.store(true, Ordering::Release);
    Ok(())
}

/// Files that the service needs beside the connections of clients.
const FILES: u64 = 100;

/// Has the system allow as many files as there may be connections.
fn allow_files(settings: &config::Server) -> anyhow::Result<()> {
    let cannot = "cannot learn how many files this process may hold";
    let (now, most) = getrlimit(Resource::RLIMIT_NOFILE).context(cannot)?;
    // The second is how a client's leaving is noticed.
    let needed = 2 * settings.max_connections as u64 + FILES;
    ensure!(
        needed <= most,
        "server.max_connections is {}, and this process may only hold {most} files; set it to {} or less, or raise the limit (ulimit -Hn)",
        settings.max_connections,
        most.saturating_sub(FILES) / 2
    );
    setrlimit(Resource::RLIMIT_NOFILE, now.max(needed), most).context("cannot raise the limit on files (ulimit -n)")
}

/// Takes the address of the settings.
///
/// # Errors
/// When it is taken, or cannot be.
pub fn listen(settings: &config::Server) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind((settings.host.as_str(), settings.port)).with_context(|| {
        format!("cannot listen on {settings}; stop what uses the address, or set server.host and server.port (DEVICEGRAPH__SERVER__PORT)")
    })?;
    limit_unread(&listener, settings)?;
    Ok(listener)
}

/// Has a connection ended whose client leaves the answer unread; what the
/// listener is told, its connections inherit.
#[cfg(target_os = "linux")]
fn limit_unread(listener: &TcpListener, settings: &config::Server) -> anyhow::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
    let time = settings.request_timeout_seconds.saturating_mul(1000).min(i32::MAX as u64) as u32;
    setsockopt(listener, TcpUserTimeout, &time).context("cannot limit how long an answer is left unread")
}

/// Other systems have no such limit.
#[cfg(not(target_os = "linux"))]
fn limit_unread(_: &TcpListener, _: &config::Server) -> anyhow::Result<()> {
    Ok(())
}

/// What serves, without the database: settings, and what was read by them.
pub struct Service {
    settings: Settings,
    gate: Data<Gate>,
    certificate: Option<Arc<Certificate>>,
    browsers: Browsers,
    hosts: Data<AllowedHosts>,
    vault: Data<Vault>,
    seeded: Data<Seeded>,
    stopping: Data<Stopping>,
    document: Data<Document>,
}

impl Service {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// When who may call is not settled, or a file, an origin or a host name is not right.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let gate = Gate::new(settings)?;
        let asks_for_tokens = !matches!(gate, Gate::Disabled);
        Ok(Self {
            gate: Data::new(gate),
            certificate: Certificate::load(&settings.server)?.map(Arc::new),
            browsers: Browsers::new(&settings.server)?,
            hosts: Data::new(AllowedHosts::new(&settings.server, asks_for_tokens)?),
            vault: Data::new(Vault::new(&settings.secrets)?),
            seeded: Data::new(Seeded(AtomicBool::new(settings.database.seed.is_none()))),
            stopping: Data::new(Stopping(AtomicBool::new(false))),
            document: Data::default(),
            settings: settings.clone(),
        })
    }

    /// The HTTP server on `listener`, with `workers` threads. Tests serve the same.
    ///
    /// `pools` makes the pool of a worker. A worker has a runtime of its own, and
    /// a connection lives on the one that opened it: in a shared pool the first
    /// worker to finish would end the connections of the others.
    ///
    /// # Errors
    /// When the listener cannot be served.
    pub fn server(&self, listener: TcpListener, workers: usize, pools: Pools) -> anyhow::Result<dev::Server> {
        let settings = &self.settings.server;
        let (gate, vault) = (self.gate.clone(), self.vault.clone());
        let (seeded, stopping) = (self.seeded.clone(), self.stopping.clone());
        let (browsers, document) = (self.browsers.clone(), self.document.clone());
        let hosts = self.hosts.clone();
        let time = Duration::from_secs(settings.request_timeout_seconds);
        let forwarded = Forwarded(settings.forwarded_headers);
        let pages = PageSizes { default: settings.default_page_size, most: settings.max_page_size };
        let limit = body::Limit { bytes: settings.max_body_bytes, time };
        let metrics = Data::new(Metrics::new(pools.metrics().clone()));
        // One for all workers: what counts is how few commits there are.
        let writer = Data::new(Writer::start(&pools, Session::new(&pools, "devicegraph writer")));
        let server = HttpServer::new(move || {
            let pool = Data::new(pools.pool());
            let connections = pool.size();
            let reading = Session::new(&pools, "devicegraph reader");
            let configurations = Data::new(configurations::loader::Reader::start(&pools, reading.clone()));
            let assignments = Data::new(assignments::loaders::Reader::start(&pools, reading.clone()));
            let sets = Data::new(SetReader::start(&pools, reading));
            let (gate, vault, seeded, stopping) = (gate.clone(), vault.clone(), seeded.clone(), stopping.clone());
            let (document, metrics, writer) = (document.clone(), metrics.clone(), writer.clone());
            let application = move || {
                App::new()
                    .app_data(pool.clone())
                    .app_data(gate.clone())
                    .app_data(vault.clone())
                    .app_data(seeded.clone())
                    .app_data(stopping.clone())
                    .app_data(document.clone())
                    .app_data(metrics.clone())
                    .app_data(writer.clone())
                    .app_data(configurations.clone())
                    .app_data(assignments.clone())
                    .app_data(sets.clone())
                    .app_data(limit)
                    .app_data(forwarded)
                    .app_data(pages)
                    .configure(routes::configure)
                    .wrap(from_fn(url::check))
                    .wrap(from_fn(negotiate::negotiate))
                    .wrap(from_fn(auth::authenticate))
                    .wrap(from_fn(paths::normalize))
            };
            let steps = application.clone();
            let dispatcher = Dispatcher::new(connections, move || steps().wrap(from_fn(telemetry::request)));
            application()
                .app_data(Data::new(dispatcher))
                .app_data(hosts.clone())
                .wrap(from_fn(hosts::check))
                .wrap(browsers.cors())
                .wrap(browsers.headers().add(negotiate::VERSION_HEADER))
                .wrap(from_fn(telemetry::request))
                .wrap(from_fn(health::last_answers))
                .wrap(from_fn(body_guard::hold))
        });
        let server = server
            .on_connect(Client::remember)
            .workers(workers)
            .max_connections(settings.max_connections.div_ceil(workers))
            .keep_alive(Duration::from_secs(settings.keep_alive_seconds))
            .client_request_timeout(time)
            .tls_handshake_timeout(time)
            .disable_signals()
            .shutdown_timeout(settings.shutdown_seconds);
        let listening = match &self.certificate {
            Some(certificate) => server.listen_rustls_0_23(listener, certificate.server_config()?),
            None => server.listen(listener),
        };
        Ok(listening?.run())
    }

    /// Keeps keys and certificate what their sources say, and never ends.
    pub async fn keep(&self) {
        let certificate = async {
            match &self.certificate {
                Some(certificate) => certificate.keep().await,
                None => pending().await,
            }
        };
        tokio::join!(self.gate.keep_keys(), certificate);
    }
}

/// SIGTERM and SIGINT, heard from the first moment on. A second one ends the
/// wait for what is in flight.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> anyhow::Result<Self> {
        let hear = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { terminate: hear(SignalKind::terminate())?, interrupt: hear(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

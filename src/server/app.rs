//! Builds, starts and stops the service.

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

use actix_web::{
    App, dev,
    middleware::from_fn,
    web::{Data, ServiceConfig},
};
use anyhow::{Context, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sqlx::PgPool;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    addresses, authentication,
    batch::dispatch::Dispatcher,
    body_guard,
    cors::BrowserPolicy,
    docs::Documents,
    health::{self, Seeded, ShuttingDown},
    hosts::{self, AllowedHosts},
    http_server,
    metrics::Metrics,
    openapi, paths, routing, telemetry,
};
use crate::{
    auth::Authenticator,
    catalogue::version::Version,
    config::{self, Settings},
    database::{
        self, Database,
        pool::{Pool, Pools},
        session::SharedConnection,
    },
    import_export,
    odata::{body, body_memory::BodyMemory, links::Forwarded, negotiate, paging::PageSizes, url},
    resources::{
        assignments::{
            create::Writer,
            loaders::{AssignmentLoader, SetLoader},
        },
        configurations::{loader::ConfigurationLoader, vault::Vault},
    },
    tls::Certificate,
};

/// Runs the service until a signal stops it.
///
/// # Errors
/// When the service cannot start. The message is one line that names the remedy.
pub async fn run(settings: &Settings) -> anyhow::Result<()> {
    let mut stop = StopSignals::new()?;
    raise_open_files_limit(&settings.server)?;
    let service = Service::new(settings)?;
    // Listen first, because this fails quickly. Early connections wait until the service is up.
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

async fn serve(
    service: &Service,
    listener: TcpListener,
    database: &Database,
    mut stop: StopSignals,
) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let settings = &service.settings.database;
    let cores = available_parallelism().map_or(1, NonZero::get);
    let workers = cores.min(settings.max_connections as usize / MIN_CONNECTIONS).max(1);
    let pools = database.pools(settings, workers);
    let server = service.server(listener, workers, pools.clone())?;
    if let Authenticator::Disabled = **service.authenticator {
        tracing::warn!("authorization is disabled: everyone who can reach {address} may read and change everything");
    }
    addresses::log(service.settings.server.scheme(), address, database);
    let handle = server.handle();
    let shutdown = async {
        stop.wait().await;
        service.shutting_down.0.store(true, Ordering::Release);
        let drain = service.settings.server.drain_seconds;
        if drain > 0 {
            tracing::info!("draining: /health/ready answers 503 for {drain} s, and the service still answers requests");
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(drain)) => {}
                () = stop.wait() => {}
            }
        }
        tracing::info!("stopping: waiting for requests in flight");
        tokio::spawn(handle.stop(true));
        stop.wait().await;
        tracing::warn!("second signal: stopping without waiting for requests in flight");
    };
    let seeding = async {
        seed(&service.settings, &database.pool, &service.vault, &service.seeded).await?;
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
        () = service.refresh() => Ok(()),
        () = pools.monitor() => Ok(()),
        () = shutdown => Ok(()),
    }
}

/// The connections to the database that a worker needs, so that a search, a write, an atomicity
/// group and a read by key do not wait for each other.
const MIN_CONNECTIONS: usize = 4;

/// Seeds a database that has no configuration. Meanwhile, the service is live but not ready.
async fn seed(settings: &Settings, pool: &PgPool, vault: &Vault, seeded: &Seeded) -> anyhow::Result<()> {
    let Some(path) = &settings.database.seed else { return Ok(()) };
    while !database::is_migrated(pool).await? {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let done = import_export::seed_if_empty(pool, vault, path, import_export::FileRules::of(settings)).await;
    if let Some(done) = done.context("database.seed")? {
        tracing::info!(configurations = done.created, "seeded from {}", path.display());
    }
    seeded.0.store(true, Ordering::Release);
    Ok(())
}

/// The number of files that the service needs in addition to the connections of clients.
const OTHER_FILES: u64 = 100;

/// Raises the open-files limit (RLIMIT_NOFILE) to fit `server.max_connections`.
fn raise_open_files_limit(settings: &config::Server) -> anyhow::Result<()> {
    let cannot = "cannot read the limit on open files of this process";
    let (current, max) = getrlimit(Resource::RLIMIT_NOFILE).context(cannot)?;
    // Each connection needs a second file, to detect that the client has disconnected.
    let needed = 2 * settings.max_connections as u64 + OTHER_FILES;
    ensure!(
        needed <= max,
        "server.max_connections is {}, and this process may open only {max} files; set it to {} or less, or raise the limit (ulimit -Hn)",
        settings.max_connections,
        max.saturating_sub(OTHER_FILES) / 2
    );
    setrlimit(Resource::RLIMIT_NOFILE, current.max(needed), max).context("cannot raise the limit on files (ulimit -n)")
}

/// Listens on the address of the settings.
///
/// # Errors
/// When the address is in use or not available.
pub fn listen(settings: &config::Server) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind((settings.host.as_str(), settings.port)).with_context(|| {
        format!("cannot listen on {settings}; stop the program that uses the address, or set server.host and server.port (DEVICEGRAPH__SERVER__PORT)")
    })?;
    limit_unread_answers(&listener, settings)?;
    Ok(listener)
}

/// Closes a connection whose client does not read the answer. The connections inherit this
/// option from the listener.
#[cfg(target_os = "linux")]
fn limit_unread_answers(listener: &TcpListener, settings: &config::Server) -> anyhow::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
    let time = settings.request_timeout_seconds.saturating_mul(1000).min(i32::MAX as u64) as u32;
    setsockopt(listener, TcpUserTimeout, &time).context("cannot limit how long a client may leave an answer unread")
}

/// Other systems have no such limit.
#[cfg(not(target_os = "linux"))]
fn limit_unread_answers(_: &TcpListener, _: &config::Server) -> anyhow::Result<()> {
    Ok(())
}

/// The service without its database: the settings, and the data loaded from files that they
/// name.
pub struct Service {
    settings: Settings,
    authenticator: Data<Authenticator>,
    certificate: Option<Arc<Certificate>>,
    browser_policy: BrowserPolicy,
    hosts: Data<AllowedHosts>,
    vault: Data<Vault>,
    seeded: Data<Seeded>,
    shutting_down: Data<ShuttingDown>,
    documents: Data<Documents>,
    body_memory: BodyMemory,
}

impl Service {
    /// Loads the files that the settings name.
    ///
    /// # Errors
    /// When the authentication settings are incomplete, a file, an origin or a host name is not
    /// valid, or the memory for bodies is too small for one.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let authenticator = Authenticator::new(settings)?;
        let requires_token = !matches!(authenticator, Authenticator::Disabled);
        let beta = Version::beta(settings.catalogue.unknown_types);
        Ok(Self {
            authenticator: Data::new(authenticator),
            certificate: Certificate::load(&settings.server)?.map(Arc::new),
            browser_policy: BrowserPolicy::new(&settings.server)?,
            hosts: Data::new(AllowedHosts::new(&settings.server, requires_token)?),
            vault: Data::new(Vault::new(&settings.secrets)?),
            seeded: Data::new(Seeded(AtomicBool::new(settings.database.seed.is_none()))),
            shutting_down: Data::new(ShuttingDown(AtomicBool::new(false))),
            documents: Data::new(Documents::new(Box::new(move |authenticator, extent, output| {
                openapi::write(authenticator, beta, extent, output)
            }))),
            body_memory: BodyMemory::of(&settings.server)?,
            settings: settings.clone(),
        })
    }

    /// Returns the HTTP server on `listener` with `workers` threads. The tests run the same
    /// server.
    ///
    /// `pools` creates one pool for each worker. A worker has its own runtime, and a connection
    /// belongs to the runtime that opened it. In a shared pool, the first worker to end would
    /// close the connections of the others.
    ///
    /// # Errors
    /// When the listener cannot be served.
    pub fn server(&self, listener: TcpListener, workers: usize, pools: Pools) -> anyhow::Result<dev::Server> {
        let settings = &self.settings.server;
        let (browser_policy, hosts) = (self.browser_policy.clone(), self.hosts.clone());
        let beta = Version::beta(self.settings.catalogue.unknown_types);
        let shared = self.shared_data(&pools);
        let application = move || {
            let pool = pools.pool();
            let connections = pool.size();
            let (shared, of_worker) = (shared.clone(), worker_data(&pools, pool));
            let routes = routing::routes(beta);
            let inner = move || {
                App::new()
                    .configure(shared.clone())
                    .configure(of_worker.clone())
                    .configure(routes.clone())
                    .wrap(from_fn(url::check))
                    .wrap(from_fn(negotiate::negotiate))
                    .wrap(from_fn(authentication::authenticate))
                    .wrap(from_fn(paths::normalize))
            };
            let steps = inner.clone();
            let dispatcher = Dispatcher::new(connections, move || steps().wrap(from_fn(telemetry::request)));
            inner()
                .app_data(Data::new(dispatcher))
                .app_data(hosts.clone())
                .wrap(from_fn(hosts::check))
                .wrap(browser_policy.cors())
                .wrap(browser_policy.headers().add(negotiate::VERSION_HEADER))
                .wrap(from_fn(telemetry::request))
                .wrap(from_fn(health::close_after_response_on_shutdown))
                .wrap(from_fn(body_guard::keep_until_response_sent))
        };
        let tls = self.certificate.as_ref().map(Certificate::server_config).transpose()?;
        http_server::build(settings, listener, workers, tls, application)
    }

    /// Adds the data that the handlers of all workers share.
    fn shared_data(&self, pools: &Pools) -> impl Fn(&mut ServiceConfig) + Clone + Send + use<> {
        let settings = &self.settings.server;
        let (authenticator, vault) = (self.authenticator.clone(), self.vault.clone());
        let (seeded, shutting_down, documents) =
            (self.seeded.clone(), self.shutting_down.clone(), self.documents.clone());
        let forwarded = Forwarded(settings.forwarded_headers);
        let pages = PageSizes { default: settings.default_page_size, max: settings.max_page_size };
        let time = Duration::from_secs(settings.request_timeout_seconds);
        let limit = body::Limit { bytes: settings.max_body_bytes, time };
        let memory = self.body_memory.clone();
        let metrics = Data::new(Metrics::new(pools.metrics().clone()));
        // One writer for all workers means fewer commits.
        let writer = Data::new(Writer::start(pools, SharedConnection::new(pools, "devicegraph writer")));
        move |service| {
            service
                .app_data(authenticator.clone())
                .app_data(vault.clone())
                .app_data(seeded.clone())
                .app_data(shutting_down.clone())
                .app_data(documents.clone())
                .app_data(metrics.clone())
                .app_data(writer.clone())
                .app_data(limit)
                .app_data(memory.clone())
                .app_data(forwarded)
                .app_data(pages);
        }
    }

    /// Refreshes the keys and the certificate. Never returns.
    pub async fn refresh(&self) {
        let certificate = async {
            match &self.certificate {
                Some(certificate) => certificate.keep().await,
                None => pending().await,
            }
        };
        tokio::join!(self.authenticator.keep_keys(), certificate);
    }
}

/// Adds the data of one worker: its connection pool and its loaders.
fn worker_data(pools: &Pools, pool: Pool) -> impl Fn(&mut ServiceConfig) + Clone + use<> {
    let pool = Data::new(pool);
    let session = SharedConnection::new(pools, "devicegraph reader");
    let configurations = Data::new(ConfigurationLoader::start(pools, session.clone()));
    let assignments = Data::new(AssignmentLoader::start(pools, session.clone()));
    let sets = Data::new(SetLoader::start(pools, session));
    move |service| {
        service
            .app_data(pool.clone())
            .app_data(configurations.clone())
            .app_data(assignments.clone())
            .app_data(sets.clone());
    }
}

/// SIGTERM and SIGINT, received from the start. A second signal ends the wait for requests in
/// flight.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

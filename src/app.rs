//! The service put together: bind, open the database, migrate, serve, stop.

use std::{
    future::pending,
    net::TcpListener,
    num::NonZero,
    sync::atomic::{AtomicBool, Ordering},
    thread::available_parallelism,
    time::Duration,
};

use actix_web::{App, HttpServer, dev, middleware::from_fn, web::Data};
use anyhow::Context;
use sqlx::PgPool;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    auth,
    config::{self, Settings},
    database::{self, Database},
    health::Seeded,
    odata::{body, url},
    routes, telemetry, transfer,
};

/// Runs the service until a signal stops it.
///
/// # Errors
/// Whatever keeps it from starting, in one line that names the remedy.
pub async fn run(settings: &Settings) -> anyhow::Result<()> {
    let mut stop = Stop::new()?;
    auth::check(settings)?;
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
        Ok(true) => serve(settings, listener, &database, stop).await,
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

async fn serve(settings: &Settings, listener: TcpListener, database: &Database, mut stop: Stop) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let seeded = Data::new(Seeded(AtomicBool::new(settings.database.seed.is_none())));
    let connections = settings.database.max_connections;
    let workers = available_parallelism().map_or(1, NonZero::get).min(connections as usize);
    let pool = database.pools(connections / workers as u32);
    let server = server(&settings.server, listener, workers, pool, seeded.clone())?;
    tracing::warn!("authorization is disabled: everyone who can reach {address} may read and change everything");
    tracing::info!("listening on http://{address}");
    let handle = server.handle();
    let stopping = async {
        stop.wait().await;
        tracing::info!("stopping: finishing the requests in flight");
        tokio::spawn(handle.stop(true));
        stop.wait().await;
        tracing::warn!("told twice: not waiting for the requests in flight");
    };
    let seeding = async {
        seed(&settings.database, &database.pool, &seeded).await?;
        pending().await
    };
    tokio::select! {
        served = server => served.context("the server failed"),
        failed = seeding => failed,
        () = stopping => Ok(()),
    }
}

/// Fills a database that has no configuration. The service is live meanwhile
/// and not ready.
async fn seed(settings: &config::Database, pool: &PgPool, seeded: &Seeded) -> anyhow::Result<()> {
    let Some(path) = &settings.seed else { return Ok(()) };
    while !database::is_migrated(pool).await? {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    if let Some(done) = transfer::seed_if_empty(pool, path).await.context("database.seed")? {
        tracing::info!(configurations = done.created, "seeded from {}", path.display());
    }
    seeded.0.store(true, Ordering::Release);
    Ok(())
}

fn listen(settings: &config::Server) -> anyhow::Result<TcpListener> {
    TcpListener::bind((settings.host.as_str(), settings.port)).with_context(|| {
        format!("cannot listen on {settings}; stop what uses the address, or set server.host and server.port (DEVICEGRAPH__SERVER__PORT)")
    })
}

/// The HTTP server on `listener`, with `workers` threads. Tests serve the same.
///
/// `pool` makes the pool of a worker. A worker has a runtime of its own, and a
/// connection lives on the one that opened it: in a shared pool the first
/// worker to finish would end the connections of the others.
///
/// # Errors
/// When the listener cannot be served.
pub fn server(
    settings: &config::Server,
    listener: TcpListener,
    workers: usize,
    pool: impl Fn() -> PgPool + Clone + Send + 'static,
    seeded: Data<Seeded>,
) -> anyhow::Result<dev::Server> {
    let limit = body::Limit(settings.max_body_bytes);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(Data::new(pool()))
            .app_data(seeded.clone())
            .app_data(limit)
            .configure(routes::configure)
            .wrap(from_fn(url::check))
            .wrap(from_fn(telemetry::request))
    });
    let server = server.workers(workers).disable_signals().shutdown_timeout(settings.shutdown_seconds);
    Ok(server.listen(listener)?.run())
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

//! `/metrics`: what an operator watches, for Prometheus.
//!
//! Nothing in it names a configuration, a group or a caller.
//!
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>

use std::{
    fmt,
    hash::Hash,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64},
    },
    time::Duration,
};

use actix_web::{HttpResponse, web::Data};
use anyhow::Context;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use sqlx::PgPool;

use crate::{database::pool::Work, error::ApiError};

/// Everything that is counted, by all workers together.
pub struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    durations: Durations<Routed>,
    in_flight: Gauge,
    panics: Counter,
    database: Database,
    process: Process,
}

/// A request that is not answered yet.
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What concerns the database.
#[derive(Clone)]
pub struct Database {
    /// 1 while it answers.
    pub up: Gauge,
    /// How often it has stopped to.
    pub outages: Counter,
    retries: Counter,
    errors: Family<Failure, Counter>,
    groups: Family<Grouped, Counter>,
    grouped: Family<Grouped, Counter>,
    waits: Durations<Waited>,
    connections: Family<Connections, Gauge>,
    most: Gauge,
    pools: Arc<Mutex<Vec<PgPool>>>,
}

/// Where a request went: a line of the route table, never what a client wrote.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Routed {
    /// The method; HEAD counts as GET.
    pub method: &'static str,
    /// `v1.0` or `beta`, where the route has a version.
    pub version: &'static str,
    /// The template below it.
    pub route: &'static str,
}

impl Routed {
    /// What was refused before it had a route.
    pub const NOWHERE: Self = Self { method: "none", version: "none", route: "none" };
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    version: &'static str,
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Failure {
    /// PostgreSQL's code, or what kept it from giving one.
    sqlstate: String,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Grouped {
    of: &'static str,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Waited {
    work: Work,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Connections {
    state: &'static str,
}

impl EncodeLabelValue for Work {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let name = match self {
            Self::Read => "read",
            Self::Query => "query",
            Self::Write => "write",
        };
        name.encode(encoder)
    }
}

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

fn durations<L: Clone + Hash + Eq>() -> Durations<L> {
    Family::new_with_constructor(|| Histogram::new(BUCKETS))
}

/// Seconds: from a read by key to what a client waits for at most.
const BUCKETS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0];

impl Metrics {
    /// Nothing counted yet.
    pub fn new(database: Database) -> Self {
        let mut all = Registry::default();
        let registry = all.sub_registry_with_prefix("devicegraph");
        let (requests, in_flight, panics) = (Family::default(), Gauge::default(), Counter::default());
        let durations = durations();
        registry.register("http_requests", "Requests answered", Family::clone(&requests));
        let of_requests = "How long they took, without the body on its way";
        registry.register_with_unit("http_request_duration", of_requests, Unit::Seconds, Family::clone(&durations));
        registry.register("http_requests_in_flight", "Requests not answered yet", Gauge::clone(&in_flight));
        registry.register("http_panics", "Handlers that panicked: defects of the service", Counter::clone(&panics));
        database.register(registry);
        let process = Process::default();
        process.register(&mut all);
        Self { registry: all, requests, durations, in_flight, panics, database, process }
    }

    /// Counts a request as not answered yet, until what this gives is dropped.
    pub fn in_flight(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Counts a handler that panicked.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// Counts an answer, with what the database said of its failure.
    pub fn answered(&self, to: Routed, status: u16, time: Duration, failure: Option<&sqlx::Error>) {
        let Routed { method, version, route } = to;
        self.requests.get_or_create(&Answered { method, version, route, status }).inc();
        self.durations.get_or_create(&to).observe(time.as_secs_f64());
        if let Some(failure) = failure {
            self.database.errors.get_or_create(&Failure { sqlstate: sqlstate(failure) }).inc();
        }
    }

    fn text(&self) -> anyhow::Result<String> {
        self.database.look();
        self.process.look();
        let mut text = String::new();
        encode(&mut text, &self.registry).context("the metrics cannot be written")?;
        Ok(text)
    }
}

fn sqlstate(error: &sqlx::Error) -> String {
    let code = error.as_database_error().and_then(|error| error.code());
    code.map_or_else(
        || match error {
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => "none: no connection".to_owned(),
            _ => "none: connection lost".to_owned(),
        },
        |code| code.into_owned(),
    )
}

impl Default for Database {
    fn default() -> Self {
        Self {
            up: Gauge::default(),
            outages: Counter::default(),
            retries: Counter::default(),
            errors: Family::default(),
            groups: Family::default(),
            grouped: Family::default(),
            waits: durations(),
            connections: Family::default(),
            most: Gauge::default(),
            pools: Arc::default(),
        }
    }
}

impl Database {
    fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("database");
        registry.register("up", "1 while the database answers", self.up.clone());
        registry.register("outages", "How often the database stopped to answer", self.outages.clone());
        registry.register("errors", "Failures that the database caused, by SQLSTATE", self.errors.clone());
        registry.register(
            "retries",
            "Connections that had died and were replaced before a request noticed",
            self.retries.clone(),
        );
        registry.register(
            "groups",
            "Statements for all requests of a kind that had come together",
            self.groups.clone(),
        );
        registry.register("grouped", "Requests that they answered", self.grouped.clone());
        let wait = "How long a request waited for a connection, by what it does with it";
        registry.register_with_unit("acquire", wait, Unit::Seconds, self.waits.clone());
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register("connections_most", "Connections that may be open", self.most.clone());
    }

    /// Adds the connections of a worker.
    pub fn watch(&self, pool: &PgPool) {
        self.most.inc_by(pool.options().get_max_connections().into());
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).push(pool.clone());
    }

    /// Counts a connection that had died and was replaced.
    pub fn retried(&self) {
        self.retries.inc();
    }

    /// Counts a statement that answered so many requests of a kind.
    pub fn grouped(&self, of: &'static str, requests: usize) {
        let of = Grouped { of };
        self.groups.get_or_create(&of).inc();
        self.grouped.get_or_create(&of).inc_by(requests as u64);
    }

    /// Counts a wait for a connection.
    pub fn waited(&self, work: Work, time: Duration) {
        self.waits.get_or_create(&Waited { work }).observe(time.as_secs_f64());
    }

    fn look(&self) {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let (open, idle) = pools.iter().fold((0, 0), |(open, idle), pool| {
            (open + i64::from(pool.size()), idle + i64::try_from(pool.num_idle()).unwrap_or_default())
        });
        self.connections.get_or_create(&Connections { state: "idle" }).set(idle);
        self.connections.get_or_create(&Connections { state: "used" }).set((open - idle).max(0));
    }
}

/// What every program shows under these names.
#[derive(Default)]
struct Process {
    memory: Gauge<i64, AtomicI64>,
    files: Gauge<i64, AtomicI64>,
    processor: Counter<f64, AtomicU64>,
}

impl Process {
    fn register(&self, registry: &mut Registry) {
        registry.register_with_unit("process_resident_memory", "Memory in use", Unit::Bytes, self.memory.clone());
        registry.register("process_open_fds", "Open files and connections", self.files.clone());
        registry.register_with_unit("process_cpu", "Processor time taken", Unit::Seconds, self.processor.clone());
    }

    /// As far as the system tells.
    fn look(&self) {
        use nix::sys::resource::{UsageWho, getrusage};
        use nix::sys::time::TimeValLike;

        let pages = std::fs::read_to_string("/proc/self/statm").ok();
        let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<i64>().ok());
        let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
        if let Some((pages, size)) = pages.zip(size) {
            self.memory.set(pages * size);
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            self.files.set(files.count().try_into().unwrap_or_default());
        }
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
            let time = usage.user_time() + usage.system_time();
            self.processor.inc_by((time.num_microseconds() as f64 / 1e6 - self.processor.get()).max(0.0));
        }
    }
}

/// `GET /metrics`
///
/// # Errors
/// None that a client could cause.
pub async fn get(metrics: Data<Metrics>) -> Result<HttpResponse, ApiError> {
    let text = metrics.text().map_err(ApiError::internal)?;
    Ok(HttpResponse::Ok().content_type(MEDIA_TYPE).body(text))
}

/// The media type of the answer.
pub const MEDIA_TYPE: &str = "application/openmetrics-text;version=1.0.0;charset=utf-8";

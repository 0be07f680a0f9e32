//! The metrics of the database, for `/metrics`.

use std::{
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use sqlx::PgPool;

use super::work::WorkClass;

/// The metrics of the database.
#[derive(Clone)]
pub struct DatabaseMetrics {
    /// 1 while the database answers, else 0.
    pub up: Gauge,
    /// The number of outages.
    pub outages: Counter,
    retries: Counter,
    errors: Family<Failure, Counter>,
    combined_statements: Family<Combined, Counter>,
    combined_requests: Family<Combined, Counter>,
    waits: Durations<Waited>,
    connections: Family<Connections, Gauge>,
    max_connections: Gauge,
    pools: Arc<Mutex<Vec<PgPool>>>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Failure {
    /// PostgreSQL's error code, or the reason why there is none.
    sqlstate: String,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Combined {
    of: &'static str,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Waited {
    work: WorkClass,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Connections {
    state: &'static str,
}

impl EncodeLabelValue for WorkClass {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let name = match self {
            Self::Lookup => "read",
            Self::Search => "query",
            Self::Write => "write",
            Self::WriteGroup => "group",
        };
        name.encode(encoder)
    }
}

/// Histograms of durations by label.
pub type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

/// Creates empty histograms.
pub fn durations<L: Clone + Hash + Eq>() -> Durations<L> {
    Family::new_with_constructor(|| Histogram::new(BUCKETS))
}

/// The bounds of the buckets in seconds: from a read by key to the longest time that a client
/// waits.
const BUCKETS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0];

impl Default for DatabaseMetrics {
    fn default() -> Self {
        Self {
            up: Gauge::default(),
            outages: Counter::default(),
            retries: Counter::default(),
            errors: Family::default(),
            combined_statements: Family::default(),
            combined_requests: Family::default(),
            waits: durations(),
            connections: Family::default(),
            max_connections: Gauge::default(),
            pools: Arc::default(),
        }
    }
}

impl DatabaseMetrics {
    /// Adds the metrics to a registry, under `database`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("database");
        registry.register("up", "1 while the database answers", self.up.clone());
        registry.register("outages", "Outages: how often the database stopped answering", self.outages.clone());
        registry.register("errors", "Failures that the database caused, by SQLSTATE", self.errors.clone());
        registry.register(
            "retries",
            "Dead connections that were replaced before a request used them",
            self.retries.clone(),
        );
        registry.register(
            "groups",
            "Combined statements, each for several requests of one kind",
            self.combined_statements.clone(),
        );
        registry.register("grouped", "Requests that combined statements answered", self.combined_requests.clone());
        let wait = "How long a request waited for a database connection, by class of work";
        registry.register_with_unit("acquire", wait, Unit::Seconds, self.waits.clone());
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register("connections_most", "Maximum number of open connections", self.max_connections.clone());
    }

    /// Adds the connection pool of a worker.
    pub fn add_pool(&self, pool: &PgPool) {
        self.max_connections.inc_by(pool.options().get_max_connections().into());
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).push(pool.clone());
    }

    /// Counts a dead connection that was replaced.
    pub fn count_replaced_connection(&self) {
        self.retries.inc();
    }

    /// Counts a combined statement that answered this number of requests of a kind.
    pub fn count_combined(&self, of: &'static str, requests: usize) {
        let of = Combined { of };
        self.combined_statements.get_or_create(&of).inc();
        self.combined_requests.get_or_create(&of).inc_by(requests as u64);
    }

    /// Records how long a request waited for a connection.
    pub fn observe_acquire(&self, work: WorkClass, time: Duration) {
        self.waits.get_or_create(&Waited { work }).observe(time.as_secs_f64());
    }

    /// Reads the number of open and idle connections from the pools.
    pub fn read_pools(&self) {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let (open, idle) = pools.iter().fold((0, 0), |(open, idle), pool| {
            (open + i64::from(pool.size()), idle + i64::try_from(pool.num_idle()).unwrap_or_default())
        });
        self.connections.get_or_create(&Connections { state: "idle" }).set(idle);
        self.connections.get_or_create(&Connections { state: "used" }).set((open - idle).max(0));
    }

    /// Counts an error of the database.
    pub fn count_failure(&self, error: &sqlx::Error) {
        self.errors.get_or_create(&Failure { sqlstate: sqlstate(error) }).inc();
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

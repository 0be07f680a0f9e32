//! `/metrics`: metrics for Prometheus.
//!
//! The metrics contain no name of a configuration, a group or a caller.
//!
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>

use std::{
    sync::atomic::{AtomicI64, AtomicU64},
    time::Duration,
};

use actix_web::{HttpResponse, web::Data};
use anyhow::Context;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::{
    database::metrics::{DatabaseMetrics, Durations, durations},
    error::ApiError,
};

/// The metrics of all workers.
pub struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    durations: Durations<RouteLabels>,
    in_flight: Gauge,
    panics: Counter,
    database: DatabaseMetrics,
    process: Process,
}

/// Counts a request as in flight until it is dropped.
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The labels of a route. They come from the route table and never from a client.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RouteLabels {
    /// The method. HEAD counts as GET.
    pub method: &'static str,
    /// `v1.0` or `beta`, if the route has a version.
    pub version: &'static str,
    /// The path template below the version.
    pub route: &'static str,
}

impl RouteLabels {
    /// The labels of a request that was refused before routing.
    pub const UNROUTED: Self = Self { method: "none", version: "none", route: "none" };
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    version: &'static str,
    route: &'static str,
    status: u16,
}

impl Metrics {
    /// Creates and registers the metrics.
    pub fn new(database: DatabaseMetrics) -> Self {
        let mut all = Registry::default();
        let registry = all.sub_registry_with_prefix("devicegraph");
        let (requests, in_flight, panics) = (Family::default(), Gauge::default(), Counter::default());
        let durations = durations();
        registry.register("http_requests", "Requests answered", Family::clone(&requests));
        let of_requests = "How long requests took, without sending the body of the answer";
        registry.register_with_unit("http_request_duration", of_requests, Unit::Seconds, Family::clone(&durations));
        registry.register("http_requests_in_flight", "Requests that are being answered", Gauge::clone(&in_flight));
        registry.register("http_panics", "Handlers that panicked: defects of the service", Counter::clone(&panics));
        database.register(registry);
        let process = Process::default();
        process.register(&mut all);
        Self { registry: all, requests, durations, in_flight, panics, database, process }
    }

    /// Counts a request as in flight until the returned value is dropped.
    pub fn in_flight(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Counts a handler that panicked.
    pub fn count_panic(&self) {
        self.panics.inc();
    }

    /// Counts an answer, and the database error that caused its failure.
    pub fn count_answer(&self, to: RouteLabels, status: u16, time: Duration, failure: Option<&sqlx::Error>) {
        let RouteLabels { method, version, route } = to;
        self.requests.get_or_create(&Answered { method, version, route, status }).inc();
        self.durations.get_or_create(&to).observe(time.as_secs_f64());
        if let Some(failure) = failure {
            self.count_database_failure(failure);
        }
    }

    /// Counts a failure of the database.
    pub fn count_database_failure(&self, failure: &sqlx::Error) {
        self.database.count_failure(failure);
    }

    fn text(&self) -> anyhow::Result<String> {
        self.database.read_pools();
        self.process.read();
        let mut text = String::new();
        encode(&mut text, &self.registry).context("the metrics cannot be written")?;
        Ok(text)
    }
}

/// The standard metrics of a process.
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

    /// Reads the values that the system reports.
    fn read(&self) {
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
/// 500 when the metrics cannot be encoded.
pub async fn get(metrics: Data<Metrics>) -> Result<HttpResponse, ApiError> {
    let text = metrics.text().map_err(ApiError::internal)?;
    Ok(HttpResponse::Ok().content_type(MEDIA_TYPE).body(text))
}

/// The media type of the answer.
pub const MEDIA_TYPE: &str = "application/openmetrics-text;version=1.0.0;charset=utf-8";

//! Detects outages. A monitor checks the database continuously, on a separate connection.
//!
//! A connection can die without notice, and a request on it then waits forever. So a request
//! gives up when it has waited long enough *and* the database does not answer the monitor
//! either. A slow statement alone is no outage.

use std::{future::pending, time::Duration};

use anyhow::anyhow;
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::metrics::DatabaseMetrics;
use crate::error::{ApiError, is_connection_lost};

/// The pause between two checks.
const INTERVAL: Duration = Duration::from_millis(150);
/// The minimum timeout of a check during an outage, because the check also opens a connection.
const OUTAGE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a request waits after the answer timeout of the database. With an answer timeout of
/// 500 ms, the client gets an answer within a second.
const GRACE: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Default)]
struct State {
    down_since: Option<Instant>,
    last_outage_ended: Option<Instant>,
}

/// Checks whether the database answers.
pub struct HealthMonitor {
    options: PgConnectOptions,
    state: watch::Sender<State>,
    answer_timeout: Duration,
    metrics: DatabaseMetrics,
}

/// The state of the database, as the monitor last saw it.
#[derive(Clone)]
pub struct DatabaseStatus {
    state: watch::Receiver<State>,
    answer_timeout: Duration,
}

impl HealthMonitor {
    /// Creates a monitor for a database that has just answered. The database must answer each
    /// check within `answer_timeout`.
    pub fn new(options: PgConnectOptions, answer_timeout: Duration, metrics: DatabaseMetrics) -> Self {
        metrics.up.set(1);
        let options = options.application_name("devicegraph watch");
        Self { options, state: watch::Sender::default(), answer_timeout, metrics }
    }

    /// Returns a handle that shows the current state of the database.
    pub fn database_status(&self) -> DatabaseStatus {
        DatabaseStatus { state: self.state.subscribe(), answer_timeout: self.answer_timeout }
    }

    /// Checks the database at intervals. Never returns.
    pub async fn run(&self) {
        let mut connection = None;
        loop {
            let is_out = self.state.borrow().down_since.is_some();
            let limit = if is_out { self.answer_timeout.max(OUTAGE_TIMEOUT) } else { self.answer_timeout };
            let failure = match timeout(limit, self.check(&mut connection)).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("no answer in {} ms", limit.as_millis())),
            };
            if self.state.send_if_modified(|state| state.record(failure.as_deref())) {
                self.metrics.up.set(failure.is_none().into());
                self.metrics.outages.inc_by(failure.is_some().into());
            }
            sleep(INTERVAL).await;
        }
    }

    /// Checks on the kept connection, else on a new one: an administrator may have ended the
    /// kept connection while the database is up.
    async fn check(&self, kept: &mut Option<PgConnection>) -> sqlx::Result<()> {
        if let Some(mut connection) = kept.take()
            && connection.ping().await.is_ok()
        {
            *kept = Some(connection);
            return Ok(());
        }
        match self.options.connect().await {
            Ok(connection) => *kept = Some(connection),
            // An error from the server, such as "too many connections" or a wrong password,
            // shows that the server is up.
            Err(error) if error.as_database_error().is_some() && !is_connection_lost(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl State {
    /// Records the result of a check. Returns whether the state changed.
    fn record(&mut self, failure: Option<&str>) -> bool {
        match (self.down_since, failure) {
            (None, Some(failure)) => {
                tracing::error!("the database does not answer, requests that need it are refused: {failure}");
                self.down_since = Some(Instant::now());
            }
            (Some(since), None) => {
                tracing::info!(after_ms = since.elapsed().as_millis() as u64, "the database answers again");
                *self = Self { down_since: None, last_outage_ended: Some(Instant::now()) };
            }
            _ => return false,
        }
        true
    }
}

impl DatabaseStatus {
    /// Returns whether the database is down.
    pub fn is_down(&self) -> bool {
        self.state.borrow().down_since.is_some()
    }

    /// Returns whether a connection of this age was open during an outage, and so may be dead.
    pub fn predates_outage(&self, age: Duration) -> bool {
        let state = *self.state.borrow();
        state.down_since.is_some() || state.last_outage_ended.is_some_and(|ended| ended.elapsed() <= age)
    }

    /// Waits until a request that arrived at `start` must give up.
    pub async fn wait_for_give_up(&self, start: Instant) {
        sleep_until(start + self.answer_timeout + GRACE).await;
        if self.state.clone().wait_for(|state| state.down_since.is_some()).await.is_err() {
            pending().await
        }
    }
}

/// Returns the 503 of a request that gave up.
pub fn refusal() -> ApiError {
    ApiError::unavailable(anyhow!("the database does not answer"))
}

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgSslMode;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    fn status_of_outage(answer_timeout: Duration) -> (watch::Sender<State>, DatabaseStatus) {
        let (sender, state) = watch::channel(State { down_since: Some(Instant::now()), last_outage_ended: None });
        (sender, DatabaseStatus { state, answer_timeout })
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_gives_up_a_moment_after_the_answer_is_due() {
        for answer_timeout in [Duration::from_millis(500), Duration::from_secs(5)] {
            let (_sender, database_status) = status_of_outage(answer_timeout);
            let start = Instant::now();
            database_status.wait_for_give_up(start).await;
            let waited = start.elapsed();
            assert!((answer_timeout..answer_timeout + Duration::from_millis(201)).contains(&waited), "{waited:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_for_a_database_that_answers() {
        let (sender, database_status) = status_of_outage(Duration::from_millis(500));
        sender.send_replace(State::default());
        let waits = timeout(Duration::from_secs(3600), database_status.wait_for_give_up(Instant::now()));
        assert!(waits.await.is_err());
    }

    /// Returns the options of a server that refuses the first connection with this SQLSTATE.
    async fn server_that_refuses(sqlstate: &'static str) -> PgConnectOptions {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.expect("a connection");
            // The startup message begins with its length.
            let length = client.read_u32().await.expect("a length") as usize;
            client.read_exact(&mut vec![0; length - 4]).await.expect("a startup message");
            let fields = format!("SFATAL\0VFATAL\0C{sqlstate}\0Mrefused\0\0");
            let length = u32::try_from(4 + fields.len()).expect("a short message").to_be_bytes();
            let refusal = [b"E", length.as_slice(), fields.as_bytes()].concat();
            client.write_all(&refusal).await.expect("the client reads");
        });
        let options = PgConnectOptions::new_without_pgpass().ssl_mode(PgSslMode::Disable).username("a");
        options.host("127.0.0.1").port(port)
    }

    #[tokio::test]
    async fn a_server_that_refuses_a_connection_is_up_unless_it_starts_or_stops() {
        for (sqlstate, is_up) in [("53300", true), ("28P01", true), ("57P01", false), ("57P03", false)] {
            let options = server_that_refuses(sqlstate).await;
            let monitor = HealthMonitor::new(options, Duration::from_secs(60), DatabaseMetrics::default());
            let checked = monitor.check(&mut None).await;
            assert_eq!(checked.is_ok(), is_up, "{sqlstate}: {checked:?}");
        }
    }

    /// With the default settings, an outage is answered with 503 within a second.
    #[test]
    fn a_client_is_answered_within_a_second_by_default() {
        use ::config::{Config, File, FileFormat};
        let file = File::from_str(include_str!("../default.toml"), FileFormat::Toml);
        let defaults = Config::builder().add_source(file).build().and_then(Config::try_deserialize);
        let defaults = defaults.map(|settings: crate::config::Settings| settings.database).expect("the defaults");
        let noticed = INTERVAL + Duration::from_millis(defaults.answer_timeout_ms);
        assert!(noticed.max(Duration::from_millis(defaults.answer_timeout_ms) + GRACE) < Duration::from_secs(1));
        assert!(defaults.acquire_timeout_ms < 1000 && defaults.lock_timeout_ms < 1000);
    }
}

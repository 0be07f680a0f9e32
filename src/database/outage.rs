//! Whether the database answers. A monitor asks it all the time, on a connection of its own.
//!
//! A connection can die without notice, and a request on it then waits for ever. So a
//! request gives up when it has waited long enough *and* the database does not answer the
//! monitor either: a slow statement alone is no outage.

use std::{future::pending, time::Duration};

use anyhow::anyhow;
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::metrics::DatabaseMetrics;
use crate::error::{ApiError, is_connection_lost};

/// The pause between two questions to the database.
const INTERVAL: Duration = Duration::from_millis(150);
/// The timeout of a question during an outage, when it also opens a connection.
const RETURN: Duration = Duration::from_secs(1);
/// How much longer than the database a request waits while the database does not answer.
/// With 500 ms for the database, a client is answered within a second.
const GRACE: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Default)]
struct State {
    since: Option<Instant>,
    ended: Option<Instant>,
}

/// Asks the database.
pub struct HealthMonitor {
    options: PgConnectOptions,
    state: watch::Sender<State>,
    answer_timeout: Duration,
    metrics: DatabaseMetrics,
}

/// What is known of it.
#[derive(Clone)]
pub struct DatabaseStatus {
    state: watch::Receiver<State>,
    answer_timeout: Duration,
}

impl HealthMonitor {
    /// Watches the database of these options, which has just answered. Each question must be
    /// answered within `answer_timeout`.
    pub fn new(options: PgConnectOptions, answer_timeout: Duration, metrics: DatabaseMetrics) -> Self {
        metrics.up.set(1);
        let options = options.application_name("devicegraph watch");
        Self { options, state: watch::Sender::default(), answer_timeout, metrics }
    }

    /// What it finds out, for everyone who asks.
    pub fn outage(&self) -> DatabaseStatus {
        DatabaseStatus { state: self.state.subscribe(), answer_timeout: self.answer_timeout }
    }

    /// Asks, and never ends.
    pub async fn keep(&self) {
        let mut connection = None;
        loop {
            let is_out = self.state.borrow().since.is_some();
            let limit = if is_out { self.answer_timeout.max(RETURN) } else { self.answer_timeout };
            let failure = match timeout(limit, self.ask(&mut connection)).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("no answer in {} ms", limit.as_millis())),
            };
            if self.state.send_if_modified(|state| state.learn(failure.as_deref())) {
                self.metrics.up.set(failure.is_none().into());
                self.metrics.outages.inc_by(failure.is_some().into());
            }
            sleep(INTERVAL).await;
        }
    }

    /// Asks on the kept connection, else on a new one: an administrator may have ended the
    /// kept one while the database is up.
    async fn ask(&self, kept: &mut Option<PgConnection>) -> sqlx::Result<()> {
        if let Some(mut connection) = kept.take()
            && connection.ping().await.is_ok()
        {
            *kept = Some(connection);
            return Ok(());
        }
        match self.options.connect().await {
            Ok(connection) => *kept = Some(connection),
            // No more connections, another password: it answers, if not to us.
            Err(error) if error.as_database_error().is_some() && !is_connection_lost(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl State {
    /// Whether that is news.
    fn learn(&mut self, failure: Option<&str>) -> bool {
        match (self.since, failure) {
            (None, Some(failure)) => {
                tracing::error!("the database does not answer, requests that need it are refused: {failure}");
                self.since = Some(Instant::now());
            }
            (Some(since), None) => {
                tracing::info!(after_ms = since.elapsed().as_millis() as u64, "the database answers again");
                *self = Self { since: None, ended: Some(Instant::now()) };
            }
            _ => return false,
        }
        true
    }
}

impl DatabaseStatus {
    /// Whether there is one.
    pub fn is_down(&self) -> bool {
        self.state.borrow().since.is_some()
    }

    /// Whether a connection of this age was open during an outage, and so may be dead.
    pub fn predates_outage(&self, age: Duration) -> bool {
        let state = *self.state.borrow();
        state.since.is_some() || state.ended.is_some_and(|ended| ended.elapsed() <= age)
    }

    /// Waits until a request that arrived at `start` must give up.
    pub async fn wait_for_give_up(&self, start: Instant) {
        sleep_until(start + self.answer_timeout + GRACE).await;
        if self.state.clone().wait_for(|state| state.since.is_some()).await.is_err() {
            pending().await
        }
    }
}

/// The refusal of a request that gave up.
pub fn refusal() -> ApiError {
    ApiError::unavailable(anyhow!("the database does not answer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outage(answer_timeout: Duration) -> (watch::Sender<State>, DatabaseStatus) {
        let (sender, state) = watch::channel(State { since: Some(Instant::now()), ended: None });
        (sender, DatabaseStatus { state, answer_timeout })
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_gives_up_a_moment_after_the_answer_is_due() {
        for answer_timeout in [Duration::from_millis(500), Duration::from_secs(5)] {
            let (_sender, outage) = outage(answer_timeout);
            let start = Instant::now();
            outage.wait_for_give_up(start).await;
            let waited = start.elapsed();
            assert!((answer_timeout..answer_timeout + Duration::from_millis(201)).contains(&waited), "{waited:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_for_a_database_that_answers() {
        let (sender, outage) = outage(Duration::from_millis(500));
        sender.send_replace(State::default());
        let waits = timeout(Duration::from_secs(3600), outage.wait_for_give_up(Instant::now()));
        assert!(waits.await.is_err());
    }

    /// README promises it.
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

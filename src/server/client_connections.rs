//! The open connections of clients, and which of them the service ends.
//!
//! A worker accepts no connection while it has as many as it may hold. Without this module,
//! clients that connect and then stay silent would keep every other client out. So the worker
//! ends the connections that have been idle longest before it is full.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    net::IpAddr,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use actix_web::rt;
use tokio::time::sleep;

use super::client_addresses::{Addresses, CountedAddress};
use crate::config;

/// The time between two checks of all connections of a worker.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// A connection that is idle for less than this time is ended only when the worker is full. A
/// client that sends requests in quick succession keeps its connection, and a new client has
/// time to send its first request.
const SETTLED: Duration = Duration::from_secs(1);
/// The time between two log lines about ended connections.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// The limits of the connections of one worker.
#[derive(Clone)]
pub struct Limits {
    /// The number of connections at which the worker stops accepting.
    pub max: usize,
    /// The number of connections above which the worker ends idle ones.
    idle_up_to: usize,
    /// The timeout for receiving the head of a request.
    head_timeout: Duration,
    addresses: Addresses,
}

impl Limits {
    /// Returns the limits of each of `workers`.
    pub fn new(settings: &config::Server, workers: usize) -> Self {
        // Each worker needs two connections: one idle client must not block the next client.
        let max = settings.max_connections.div_ceil(workers).max(2);
        let percent = usize::from(settings.close_idle_above_percent);
        Self {
            max,
            idle_up_to: (max.saturating_mul(percent) / 100).clamp(1, max - 1),
            head_timeout: Duration::from_secs(settings.request_timeout_seconds),
            addresses: Addresses::new(settings.max_connections_per_address),
        }
    }
}

/// The open connections of one worker. They stay on the thread of the worker.
pub struct ClientConnections {
    limits: Limits,
    open: RefCell<HashMap<u64, Rc<State>>>,
    last_id: Cell<u64>,
    report: Report,
}

impl ClientConnections {
    /// Starts the checks of the connections of this worker. They end when the returned value is
    /// dropped.
    pub fn start(limits: Limits) -> Rc<Self> {
        let (open, last_id, report) = (RefCell::default(), Cell::new(0), Report::default());
        let started = Rc::new(Self { limits, open, last_id, report });
        let checked = Rc::downgrade(&started);
        rt::spawn(async move {
            while let Some(connections) = checked.upgrade() {
                connections.check();
                drop(connections);
                sleep(CHECK_INTERVAL).await;
            }
        });
        started
    }

    /// Registers a connection that was accepted. Returns `None` when its address has
    /// `server.max_connections_per_address` already.
    pub fn register(self: &Rc<Self>, address: Option<IpAddr>) -> Option<OpenConnection> {
        let Some(address) = self.limits.addresses.enter(address) else {
            self.report.refused.set(self.report.refused.get() + 1);
            return None;
        };
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        let state = Rc::new(State {
            worker: Rc::downgrade(self),
            requests: Cell::new(0),
            is_sending: Cell::new(false),
            idle_since: Cell::new(Instant::now()),
            head_since: Cell::new(None),
            end: Cell::new(None),
            waker: RefCell::new(None),
        });
        self.open.borrow_mut().insert(id, state.clone());
        self.make_room();
        Some(OpenConnection { id, state, _address: address })
    }

    /// Ends the connections with a slow head, and the idle ones that are too many.
    fn check(&self) {
        for state in self.open.borrow().values() {
            let is_late = state.head_since.get().is_some_and(|since| since.elapsed() >= self.limits.head_timeout);
            if is_late && state.is_idle() {
                state.end(End::SlowHead);
                self.report.slow.set(self.report.slow.get() + 1);
            }
        }
        self.make_room();
        self.report.log();
    }

    /// Ends the connections that are idle longest when there are more than
    /// `server.close_idle_above_percent` allows.
    fn make_room(&self) {
        let Limits { max, idle_up_to, .. } = self.limits;
        let open = self.open.borrow();
        if open.len() <= idle_up_to {
            return;
        }
        let staying = open.values().filter(|state| state.end.get().is_none()).count();
        let mut idle: Vec<_> = open.values().filter(|state| state.is_idle()).collect();
        // When most connections have a request in progress, the places above the limit are for
        // clients that have not sent a request yet.
        let reserved = idle_up_to.min(max - idle_up_to);
        let surplus = staying.saturating_sub(idle_up_to).min(idle.len().saturating_sub(reserved));
        let is_full = staying >= max;
        let count = surplus.max(usize::from(is_full)).min(idle.len());
        // The only idle connection may be that of a client that was just accepted.
        let is_alone = idle.len() == 1;
        keep_longest_idle(&mut idle, count);
        for (place, state) in idle.into_iter().enumerate() {
            let must_end = is_full && !is_alone && place == 0;
            if must_end || state.idle_since.get().elapsed() >= SETTLED {
                state.end(End::MakeRoom);
                self.report.idle.set(self.report.idle.get() + 1);
            }
        }
    }

    fn is_full(&self) -> bool {
        self.open.borrow().len() >= self.limits.max
    }
}

/// Keeps the `count` connections that are idle longest, and sorts them. It does not sort all,
/// because it runs for each connection that is accepted while others flood the service.
fn keep_longest_idle(idle: &mut Vec<&Rc<State>>, count: usize) {
    if count < idle.len() {
        idle.select_nth_unstable_by_key(count, |state| state.idle_since.get());
        idle.truncate(count);
    }
    idle.sort_unstable_by_key(|state| state.idle_since.get());
}

/// Counts the connections that the worker ended, for the log.
#[derive(Default)]
struct Report {
    idle: Cell<usize>,
    slow: Cell<usize>,
    refused: Cell<usize>,
    logged: Cell<Option<Instant>>,
}

impl Report {
    fn log(&self) {
        if self.logged.get().is_some_and(|logged| logged.elapsed() < REPORT_INTERVAL) {
            return;
        }
        let counts = [
            (&self.idle, "closed idle connections to make room for others (server.max_connections)"),
            (
                &self.slow,
                "closed connections whose clients sent the head of a request too slowly (server.request_timeout_seconds)",
            ),
            (
                &self.refused,
                "refused connections of client addresses that have too many (server.max_connections_per_address)",
            ),
        ];
        for (count, message) in counts {
            let count = count.take();
            if count > 0 {
                self.logged.set(Some(Instant::now()));
                tracing::warn!(count, "{message}");
            }
        }
    }
}

/// Why the worker ends a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Too many connections are open. Data from the client cancels this.
    MakeRoom,
    /// The head of a request did not come in time.
    SlowHead,
}

/// The state of one connection.
struct State {
    worker: Weak<ClientConnections>,
    /// The requests whose answer the worker has not passed on to the last byte.
    requests: Cell<usize>,
    /// Whether the client is slow to take what was written.
    is_sending: Cell<bool>,
    /// When the last request ended, or the connection was accepted.
    idle_since: Cell<Instant>,
    /// When the client began to send a head, or had to begin with the first.
    head_since: Cell<Option<Instant>>,
    end: Cell<Option<End>>,
    /// Wakes the task that reads from the connection.
    waker: RefCell<Option<Waker>>,
}

impl State {
    fn is_idle(&self) -> bool {
        self.requests.get() == 0 && !self.is_sending.get() && self.end.get().is_none()
    }

    fn end(&self, reason: End) {
        self.end.set(Some(reason));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// An open connection. Dropping it takes the connection off the list of the worker.
pub struct OpenConnection {
    id: u64,
    state: Rc<State>,
    _address: Option<CountedAddress>,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if let Some(worker) = self.state.worker.upgrade() {
            worker.open.borrow_mut().remove(&self.id);
        }
    }
}

impl OpenConnection {
    /// Returns the handle for the requests of this connection.
    pub fn handle(&self) -> Connection {
        Connection(self.state.clone())
    }

    /// Waits until the worker ends the connection.
    pub async fn ended(&self) {
        poll_fn(|context| self.poll_end(context)).await;
    }

    /// Starts the time for the head of the first request.
    pub fn expect_head(&self) {
        self.state.head_since.set(Some(Instant::now()));
    }

    /// Returns whether the worker has ended the connection.
    pub fn is_ended(&self) -> bool {
        self.state.end.get().is_some()
    }

    /// Returns ready when the worker has ended the connection, else wakes the task when it does.
    pub fn poll_end(&self, context: &Context<'_>) -> Poll<()> {
        if self.is_ended() {
            return Poll::Ready(());
        }
        let mut waker = self.state.waker.borrow_mut();
        match &mut *waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => *waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Records that the client has sent data. Returns `false` when the connection must end
    /// nevertheless.
    pub fn receive(&self) -> bool {
        let state = &self.state;
        if state.end.get() == Some(End::SlowHead) {
            return false;
        }
        state.end.set(None);
        if state.requests.get() == 0 && state.head_since.get().is_none() {
            state.head_since.set(Some(Instant::now()));
        }
        true
    }

    /// Notes whether the client has taken all that was written.
    pub fn set_sending(&self, is_sending: bool) {
        let was_sending = self.state.is_sending.replace(is_sending);
        if was_sending && !is_sending {
            let now = Instant::now();
            self.state.idle_since.set(now);
            self.state.head_since.set(self.state.head_since.get().map(|_| now));
        }
    }
}

/// The connection of a request.
#[derive(Clone)]
pub struct Connection(Rc<State>);

impl Connection {
    /// Counts a request as in progress until the returned value is dropped.
    pub fn begin_request(&self) -> RequestInProgress {
        self.0.requests.set(self.0.requests.get() + 1);
        self.0.head_since.set(None);
        RequestInProgress(self.0.clone())
    }
}

/// A request in progress. The worker never ends its connection.
pub struct RequestInProgress(Rc<State>);

impl Drop for RequestInProgress {
    fn drop(&mut self) {
        let requests = self.0.requests.get().saturating_sub(1);
        self.0.requests.set(requests);
        if requests > 0 {
            return;
        }
        self.0.idle_since.set(Instant::now());
        if let Some(worker) = self.0.worker.upgrade().filter(|worker| worker.is_full()) {
            worker.make_room();
        }
    }
}

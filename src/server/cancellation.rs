//! Cancels a request when the database is down or its client has disconnected.
//!
//! The connection of the request to the database is then closed, and PostgreSQL ends the
//! statement. Without this, actix-web runs a request to its end even when no client waits.

use std::{future::pending, os::fd::OwnedFd, rc::Rc, time::Duration};

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse, dev::Extensions, http::StatusCode, rt::net::TcpStream, web::Data,
};
use tokio::time::sleep;

use crate::database::{
    outage::{self, DatabaseStatus},
    pool::Pool,
    request::RequestContext,
};

/// The connection of a client.
#[derive(Clone)]
pub struct Client(Rc<OwnedFd>);

/// How long a request runs before the service checks whether its client is still
/// connected, and the time between two checks.
pub const INTERVAL: Duration = Duration::from_millis(250);
/// How long the service waits for the answer of the handler after an outage began. A handler
/// that writes also detects the outage, and only it knows whether it may have written.
const HANDLER_GRACE: Duration = Duration::from_millis(100);

impl Client {
    /// Stores the connection of a client, for its requests.
    #[cfg(target_os = "linux")]
    pub fn remember(stream: &TcpStream, extensions: &mut Extensions) {
        use std::os::fd::AsFd;

        if let Ok(own) = stream.as_fd().try_clone_to_owned() {
            extensions.insert(Self(Rc::new(own)));
        }
    }

    /// Does nothing: other systems do not report a disconnect.
    #[cfg(not(target_os = "linux"))]
    pub fn remember(_: &TcpStream, _: &mut Extensions) {}

    /// Returns the client of a request. The steps of a batch have the client of the batch.
    pub fn of(request: &HttpRequest) -> Option<Self> {
        request.conn_data::<Self>().or(request.extensions().get::<Self>()).cloned()
    }

    /// Returns whether the client has closed its side of the connection.
    #[cfg(target_os = "linux")]
    fn is_gone(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};

        let mut asked = [PollFd::new(&*self.0, PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut asked, Some(&now)).is_ok() && asked[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP)
    }

    #[cfg(not(target_os = "linux"))]
    fn is_gone(&self) -> bool {
        false
    }
}

/// Waits until the request must be cancelled, and returns the answer.
pub async fn cancelled(request: HttpRequest) -> HttpResponse {
    // Most requests are answered within this time. They cost one timer and nothing else.
    sleep(INTERVAL).await;
    let started = request.extensions().get::<RequestContext>().copied();
    let database_status = request.app_data::<Data<Pool>>().map(|pool| pool.database_status().clone());
    tokio::select! {
        () = wait_for_outage(database_status, started) => {
            let refusal = outage::refusal();
            HttpResponse::from_error(refusal)
        }
        // Proxies log 499 for a disconnected client. No client reads this answer.
        () = disconnected(&request) => {
            HttpResponse::new(StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT))
        }
    }
}

async fn wait_for_outage(database_status: Option<DatabaseStatus>, started: Option<RequestContext>) {
    match database_status.zip(started) {
        Some((database_status, started)) => {
            database_status.wait_for_give_up(started.at).await;
            sleep(HANDLER_GRACE).await;
        }
        None => pending().await,
    }
}

/// Waits until the client of a request has disconnected.
pub async fn disconnected(request: &HttpRequest) {
    let Some(client) = Client::of(request) else { return pending().await };
    while !client.is_gone() {
        sleep(INTERVAL).await;
    }
}

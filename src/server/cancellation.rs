//! When a request is given up: the database answers nobody, or its client is gone.
//!
//! What it held is free then: its connection to the database is closed, and the
//! server ends the statement. The framework itself carries a request through
//! whether anybody waits for it or not.

use std::{any::Any, future::pending, os::fd::OwnedFd, rc::Rc, time::Duration};

use actix_web::{HttpMessage, HttpRequest, HttpResponse, dev::Extensions, http::StatusCode, web::Data};
use tokio::time::sleep;

use super::telemetry::Started;
use crate::database::{
    outage::{self, Outage},
    pool::Pool,
};

/// The connection of a client.
#[derive(Clone)]
pub struct Client(Rc<OwnedFd>);

/// How long a request takes before anybody looks whether its client waits, and
/// how often then.
const INTERVAL: Duration = Duration::from_millis(250);
/// How long a request has to give itself up. Who writes hears of the outage at the
/// same time, in no order, and alone knows whether anything may have been written.
const OWN: Duration = Duration::from_millis(100);

impl Client {
    /// Remembers a new connection, for its requests.
    #[cfg(target_os = "linux")]
    pub fn remember(connection: &dyn Any, extensions: &mut Extensions) {
        use std::os::fd::AsFd;

        use actix_tls::accept::rustls_0_23::TlsStream;
        use actix_web::rt::net::TcpStream;

        let stream = connection.downcast_ref::<TcpStream>();
        let stream = stream.or_else(|| connection.downcast_ref::<TlsStream<TcpStream>>().map(|tls| tls.get_ref().0));
        if let Some(Ok(own)) = stream.map(|stream| stream.as_fd().try_clone_to_owned()) {
            extensions.insert(Self(Rc::new(own)));
        }
    }

    /// Other systems do not tell.
    #[cfg(not(target_os = "linux"))]
    pub fn remember(_: &dyn Any, _: &mut Extensions) {}

    /// Who sent a request; the steps of a batch have the client of the batch.
    pub fn of(request: &HttpRequest) -> Option<Self> {
        request.conn_data::<Self>().or(request.extensions().get::<Self>()).cloned()
    }

    /// Whether it has closed its side.
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

/// Ends when the request is to be given up, with what is answered then.
pub async fn ends(request: HttpRequest) -> HttpResponse {
    // Most are answered by then: one timer, and nothing else is made for them.
    sleep(INTERVAL).await;
    let started = request.extensions().get::<Started>().copied();
    let outage = request.app_data::<Data<Pool>>().map(|pool| pool.outage().clone());
    tokio::select! {
        () = has_outage(outage, started) => {
            let refusal = outage::refusal();
            HttpResponse::from_error(refusal)
        }
        // As proxies log it; nobody reads it.
        () = has_left(Client::of(&request)) => {
            HttpResponse::new(StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT))
        }
    }
}

async fn has_outage(outage: Option<Outage>, started: Option<Started>) {
    match outage.zip(started) {
        Some((outage, started)) => {
            outage.is_over_patience(started.at).await;
            sleep(OWN).await;
        }
        None => pending().await,
    }
}

async fn has_left(client: Option<Client>) {
    let Some(client) = client else { return pending().await };
    while !client.is_gone() {
        sleep(INTERVAL).await;
    }
}

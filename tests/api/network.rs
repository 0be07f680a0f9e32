//! A network between the service and its database that a test can break.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    time::sleep,
};

/// How the network handles the data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Line {
    /// The data arrives.
    Up,
    /// The data arrives after this delay.
    Slow(Duration),
    /// The data is dropped without an error, as on a half-open connection.
    Silent,
    /// Every connection is reset, also a new one.
    Reset,
    /// This number of bytes of the database's next answer arrive. Then the connection is closed.
    Truncated(usize),
}

/// A TCP port in front of the socket of a database.
pub(crate) struct Network {
    address: SocketAddr,
    line: watch::Sender<Line>,
}

impl Network {
    /// Starts a network in front of the database of these options, on its own thread.
    pub(crate) fn before(database: &PgConnectOptions) -> Self {
        let folder = database.get_socket().expect("a socket");
        let socket = folder.join(format!(".s.PGSQL.{}", database.get_port()));
        let (line, state) = watch::channel(Line::Up);
        let (sender, address) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                sender.send(listener.local_addr().expect("an address")).expect("the test waits");
                while let Ok((client, _)) = listener.accept().await {
                    actix_web::rt::spawn(carry(client, socket.clone(), state.clone()));
                }
            });
        });
        Self { address: address.recv().expect("it listens"), line }
    }

    pub(crate) fn becomes(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Returns options that reach the database through this network.
    pub(crate) fn options(&self, database: &PgConnectOptions) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.address.port())
            .username(database.get_username())
            .database(database.get_database().expect("a database"))
            .ssl_mode(PgSslMode::Disable)
    }

    pub(crate) fn url(&self, database: &PgConnectOptions) -> String {
        let (user, name) = (database.get_username(), database.get_database().expect("a database"));
        format!("postgres://{user}@{}/{name}?sslmode=disable", self.address)
    }
}

async fn carry(client: TcpStream, socket: PathBuf, line: watch::Receiver<Line>) {
    // A socket with this option sends a reset when it is closed.
    client.set_zero_linger().expect("an option of every socket");
    if *line.borrow() == Line::Reset {
        return;
    }
    let mut database = UnixStream::connect(socket).await.expect("the database listens");
    let (mut client, mut database) = (client, database.split());
    let (mut from_client, mut to_client) = client.split();
    let mut ended = line.clone();
    tokio::select! {
        () = pump(&mut from_client, &mut database.1, line.clone(), false) => {}
        () = pump(&mut database.0, &mut to_client, line, true) => {}
        _ = ended.wait_for(|line| *line == Line::Reset) => {}
    }
}

async fn pump(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut line: watch::Receiver<Line>,
    is_answer: bool,
) {
    let mut buffer = [0; 8192];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let now = *line.borrow();
        match now {
            Line::Slow(time) => sleep(time).await,
            Line::Silent => drop(line.wait_for(|line| *line != Line::Silent).await),
            Line::Truncated(rest) if is_answer => {
                let _ = to.write_all(&buffer[..length.min(rest)]).await;
                return;
            }
            Line::Up | Line::Reset | Line::Truncated(_) => {}
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

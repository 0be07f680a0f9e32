//! A TCP proxy in front of a database that counts the answers of PostgreSQL and can lose
//! one of them.
//!
//! PostgreSQL ends each statement with one CommandComplete or ErrorResponse and each
//! round trip with one ReadyForQuery, so a count of these messages is exact:
//! <https://www.postgresql.org/docs/current/protocol-flow.html>

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, copy},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
};

/// Numbers since the proxy was started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Sessions that were opened.
    pub(crate) sessions: u64,
    /// Statements that were executed or refused.
    pub(crate) statements: u64,
    /// Waits of a client for the database.
    pub(crate) round_trips: u64,
}

/// The answer that the proxy loses.
#[derive(Clone, Copy, PartialEq)]
enum Loss {
    /// None.
    Off,
    /// The next answer in a session with this name to a statement with this command tag.
    Next(&'static str, &'static str),
    /// The proxy has that answer and does not pass it on.
    KeptBack,
    /// The proxy closes the session of that answer.
    Closed,
}

/// A proxy in front of the socket of a database.
pub(crate) struct Wire {
    address: SocketAddr,
    shared: Shared,
}

#[derive(Clone)]
struct Shared {
    counts: Arc<Mutex<Counts>>,
    loss: watch::Sender<Loss>,
}

/// The service checks the session of a writer or reader with an empty round trip when the
/// session was idle this long. That depends on the speed of the machine, so this check is
/// not counted.
const IDLE: Duration = Duration::from_secs(1);

impl Wire {
    /// Starts a proxy in front of the database of these options, on a thread of its own.
    pub(crate) fn before(database: &PgConnectOptions) -> Self {
        let folder = database.get_socket().expect("a socket");
        let socket = folder.join(format!(".s.PGSQL.{}", database.get_port()));
        let shared = Shared { counts: Arc::default(), loss: watch::Sender::new(Loss::Off) };
        let own = shared.clone();
        let (sender, address) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                sender.send(listener.local_addr().expect("an address")).expect("the test waits for the address");
                while let Ok((client, _)) = listener.accept().await {
                    actix_web::rt::spawn(carry(client, socket.clone(), own.clone()));
                }
            });
        });
        Self { address: address.recv().expect("the thread listens"), shared }
    }

    /// Returns options that reach the database through the proxy.
    pub(crate) fn options(&self, database: &PgConnectOptions) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.address.port())
            .username(database.get_username())
            .database(database.get_database().expect("a database"))
            .ssl_mode(PgSslMode::Disable)
    }

    /// Returns what was counted until now.
    pub(crate) fn counts(&self) -> Counts {
        *self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps back the next answer to a statement whose command tag begins with `tag`, in a
    /// session that was opened with this `application_name`.
    pub(crate) fn keep_back(&self, session: &'static str, tag: &'static str) {
        self.shared.loss.send_replace(Loss::Next(session, tag));
    }

    /// Waits until PostgreSQL has sent the whole answer. The statement and the commit that
    /// belongs to it are then done.
    pub(crate) async fn wait_for_answer(&self) {
        let mut loss = self.shared.loss.subscribe();
        loss.wait_for(|loss| *loss == Loss::KeptBack).await.expect("the port is open");
    }

    /// Closes the session of that answer, which the client then never reads.
    pub(crate) fn lose(&self) {
        self.shared.loss.send_replace(Loss::Closed);
    }
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Returns whether the answer with this command tag is the one to be lost.
    fn is_lost(&self, session: &str, tag: &[u8]) -> bool {
        matches!(*self.loss.borrow(), Loss::Next(name, kind) if name == session && tag.starts_with(kind.as_bytes()))
    }

    /// Keeps an answer back until its session is to be closed.
    async fn keep_back(&self) {
        let mut loss = self.loss.subscribe();
        self.loss.send_replace(Loss::KeptBack);
        // An error means that the test has ended.
        let _ = loss.wait_for(|loss| *loss != Loss::KeptBack).await;
    }
}

async fn carry(client: TcpStream, socket: PathBuf, shared: Shared) {
    // A socket with this option sends a reset when it is closed.
    client.set_zero_linger().expect("every socket has the option");
    let (mut client, mut database) = (client, UnixStream::connect(socket).await.expect("the database listens"));
    let (mut from_client, mut to_client) = client.split();
    let (from_database, mut to_database) = database.split();
    let session = async {
        let startup = startup(&mut from_client).await?;
        to_database.write_all(&startup).await?;
        let name = parameter(&startup, "application_name");
        tokio::select! {
            _ = copy(&mut from_client, &mut to_database) => Ok(()),
            ended = answers(from_database, &mut to_client, &name, &shared) => ended,
        }
    };
    // A session ends with an error when either side closes it.
    let _: io::Result<()> = session.await;
}

/// Reads the first message of a client, which is the only one without a type.
async fn startup(client: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = client.read_u32().await?;
    let mut message = length.to_be_bytes().to_vec();
    message.resize(length as usize, 0);
    client.read_exact(&mut message[4..]).await?;
    Ok(message)
}

/// Returns the value of a parameter in that message, empty when it is not set.
fn parameter(startup: &[u8], name: &str) -> String {
    // Length and version, then names and values, each with a zero at its end.
    let mut texts = startup[8..].split(|byte| *byte == 0);
    while let (Some(known), Some(value)) = (texts.next(), texts.next()) {
        if known == name.as_bytes() {
            return String::from_utf8_lossy(value).into_owned();
        }
    }
    String::new()
}

/// Counts the messages of the database and passes them on until the session ends.
async fn answers(
    database: impl AsyncRead + Unpin,
    client: &mut (impl AsyncWrite + Unpin),
    session: &str,
    shared: &Shared,
) -> io::Result<()> {
    let has_idle_check = ["devicegraph writer", "devicegraph reader"].contains(&session);
    let mut database = BufReader::new(database);
    let (mut answer, mut is_empty, mut is_lost, mut last) = (Vec::new(), true, false, None::<Instant>);
    loop {
        // A message has a type, a length that includes itself, and the rest.
        let begin = answer.len();
        answer.resize(begin + 5, 0);
        database.read_exact(&mut answer[begin..]).await?;
        let length: [u8; 4] = answer[begin + 1..].try_into().expect("four bytes");
        answer.resize(begin + 1 + u32::from_be_bytes(length) as usize, 0);
        database.read_exact(&mut answer[begin + 5..]).await?;
        let is_end = answer[begin] == b'Z';
        match answer[begin] {
            b'C' | b'E' => {
                shared.count(|counts| counts.statements += 1);
                is_lost = is_lost || shared.is_lost(session, &answer[begin + 5..]);
            }
            // PostgreSQL commits a statement outside of a transaction block just before this message.
            b'Z' if is_lost => {
                shared.keep_back().await;
                return Ok(());
            }
            b'Z' => {
                let is_idle_check = |last: Instant| is_empty && has_idle_check && last.elapsed() >= IDLE;
                match last {
                    None => shared.count(|counts| counts.sessions += 1),
                    Some(last) if is_idle_check(last) => {}
                    Some(_) => shared.count(|counts| counts.round_trips += 1),
                }
                last = Some(Instant::now());
            }
            _ => {}
        }
        is_empty = is_end;
        if is_end || (!is_lost && database.buffer().is_empty()) {
            client.write_all(&answer).await?;
            answer.clear();
        }
    }
}

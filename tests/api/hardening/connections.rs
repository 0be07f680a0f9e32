//! Connections that are silent, idle or slow leave room for other clients.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use actix_web::rt::task::spawn_blocking;
use devicegraph::config::Settings;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring, pki_types::ServerName};

use super::{FOREVER, authorization, impatient, tls::certificate, until_closed};
use crate::harness::{App, CONFIGURATIONS, LIMIT, is_remote, reachable_folder, until, until_blocking};

const REQUEST: &[u8] = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n";
const LIVE: &str = r#"{"status":"live"}"#;

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// The address of a service, and the TLS settings of its clients.
#[derive(Clone)]
struct Target {
    address: String,
    tls: Option<Arc<ClientConfig>>,
}

impl Target {
    fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("the service listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket");
        stream.set_write_timeout(Some(LIMIT)).expect("a socket");
        stream
    }

    fn connect(&self) -> Box<dyn Stream> {
        self.secured(self.tcp())
    }

    fn secured(&self, stream: TcpStream) -> Box<dyn Stream> {
        match self.tls.clone() {
            Some(config) => {
                let name = ServerName::try_from("localhost").expect("a name");
                Box::new(StreamOwned::new(ClientConnection::new(config, name).expect("TLS"), stream))
            }
            None => Box::new(stream),
        }
    }

    /// Returns a connection on which a request was answered, or `None` when the service has closed
    /// it.
    fn answered(&self) -> Option<Box<dyn Stream>> {
        let mut stream = self.connect();
        ask(&mut *stream).map(|()| stream)
    }
}

fn ask(stream: &mut dyn Stream) -> Option<()> {
    stream.write_all(REQUEST).ok()?;
    read_until(stream, |text| text.ends_with(LIVE)).map(drop)
}

/// Returns the received text when it is complete, or `None` when the connection ends before.
fn read_until(stream: &mut dyn Stream, is_complete: impl Fn(&str) -> bool) -> Option<String> {
    let (mut text, mut buffer) = (String::new(), [0; 1000]);
    while !is_complete(&text) {
        let length = stream.read(&mut buffer).ok().filter(|length| *length > 0)?;
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    Some(text)
}

/// Starts two services with the same settings, one in plain text and one with TLS. Only the limits
/// that `change` sets can end a connection.
async fn services(change: impl Fn(&mut Settings)) -> [(App, Target); 2] {
    let patient = |settings: &mut Settings| {
        settings.server.request_timeout_seconds = FOREVER;
        settings.server.tls_handshake_timeout_seconds = FOREVER;
        change(settings);
    };
    let plain = impatient(patient).await;
    let folder = reachable_folder();
    let (chain, key, made) = certificate(&folder);
    let with_tls = impatient(|settings| {
        patient(settings);
        (settings.server.tls_certificate, settings.server.tls_key) = (Some(chain), Some(key));
    })
    .await;
    let mut roots = RootCertStore::empty();
    roots.add(made.der().to_vec().into()).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("TLS").with_root_certificates(roots);
    let target = |app: &App, tls| {
        let (_, address) = app.origin.split_once("://").expect("an origin");
        Target { address: address.to_owned(), tls }
    };
    let targets = [target(&plain, None), target(&with_tls, Some(Arc::new(config.with_no_client_auth())))];
    let [first, second] = targets;
    [(plain, first), (with_tls, second)]
}

#[actix_web::test]
async fn clients_that_hold_connections_leave_room_for_others() {
    if is_remote() {
        return;
    }
    let services = services(|settings| settings.server.max_connections = 20).await;
    for (_app, target) in services {
        let attacked = spawn_blocking(move || {
            let silent: Vec<_> = (0..60).map(|_| target.tcp()).collect();
            until_blocking("a client is served beside silent ones", || target.answered().is_some());
            let mut begun: Vec<_> = (0..60).map(|_| target.tcp()).collect();
            for stream in &mut begun {
                // Send the first byte of a handshake or of a head. The service may have closed the
                // connection already.
                let _ = stream.write_all(if target.tls.is_some() { b"\x16" } else { b"G" });
            }
            until_blocking("a client is served beside those that have begun", || target.answered().is_some());
            let idle: Vec<_> = (0..60).filter_map(|_| target.answered()).collect();
            until_blocking("a client is served beside idle ones", || target.answered().is_some());
            drop((silent, begun, idle));
        });
        attacked.await.expect("a thread");
    }
}

/// Returns whether the service has closed its side of the connection.
#[cfg(target_os = "linux")]
fn is_ended(stream: &TcpStream) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let mut asked = [PollFd::new(stream, PollFlags::RDHUP)];
    poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("a socket");
    asked[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP)
}

#[actix_web::test]
#[cfg(target_os = "linux")]
async fn the_connections_that_are_idle_longest_end_first() {
    if is_remote() {
        return;
    }
    // Each of the two workers ends idle connections when it has more than five.
    let services = services(|settings| {
        settings.server.max_connections = 20;
        settings.server.close_idle_above_percent = 50;
    })
    .await;
    for (_app, target) in services {
        let ended = spawn_blocking(move || {
            let mut active = target.answered().expect("there is room");
            let mut held = Vec::new();
            for _ in 0..15 {
                let stream = target.tcp();
                let mut secured = target.secured(stream.try_clone().expect("a socket"));
                ask(&mut *secured).expect("there is room");
                held.push((stream, secured));
                // Use this connection again, so that all others are idle for longer, on a machine
                // of any speed.
                ask(&mut *active).expect("the connection that is used stays");
            }
            until_blocking("the oldest connections of both workers are ended", || {
                ask(&mut *active).expect("the connection that is used stays");
                held[..2].iter().all(|(stream, _)| is_ended(stream))
            });
            assert!(!is_ended(&held[14].0), "the newest connection was ended");
        });
        ended.await.expect("a thread");
    }
}

#[actix_web::test]
async fn a_later_head_that_is_slow_ends_the_connection() {
    if is_remote() {
        return;
    }
    let timeout = Duration::from_secs(3);
    for (_app, target) in services(|settings| settings.server.request_timeout_seconds = timeout.as_secs()).await {
        let slow = spawn_blocking(move || {
            let mut stream = None;
            until_blocking("a first request is answered in time", || {
                stream = target.answered();
                stream.is_some()
            });
            let mut stream = stream.expect("it was answered");
            let begun = Instant::now();
            stream.write_all(b"G").expect("sent");
            // A write fails after the service has closed the connection.
            while stream.write_all(b"x").and_then(|()| stream.flush()).is_ok() {
                assert!(begun.elapsed() < LIMIT, "it stays open");
                thread::sleep(Duration::from_millis(250));
            }
            assert!(begun.elapsed() >= timeout, "it was ended after {:?}", begun.elapsed());
        });
        slow.await.expect("a thread");
    }
}

/// The service does not close a connection that receives a body or sends an answer in order to make
/// room for others.
#[actix_web::test]
async fn requests_in_progress_keep_their_connections() {
    if is_remote() {
        return;
    }
    for (_app, target) in services(|settings| settings.server.max_connections = 8).await {
        let kept = spawn_blocking(move || {
            let mut sends = begin_create(&target).expect("there is room");
            // The answers are larger than the buffers of the operating system.
            let mut reads = target.connect();
            let document = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(99);
            reads.write_all(&document).expect("sent");
            reads.write_all(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("sent");
            let mut text = read_until(&mut *reads, |text| !text.is_empty()).expect("an answer");
            let crowd: Vec<_> = (0..40).map(|_| target.tcp()).collect();
            until_blocking("a client is served", || target.answered().is_some());
            // This is longer than the time after which the service may close an idle connection.
            thread::sleep(Duration::from_secs(2));
            until_blocking("a client is served", || target.answered().is_some());
            end_create(&mut *sends);
            reads.read_to_string(&mut text).expect("all of the answers");
            assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 100);
            drop(crowd);
        });
        kept.await.expect("a thread");
    }
}

const BODY: &str = r##"{"@odata.type":"#microsoft.graph.iosCustomConfiguration","displayName":"a test"}"##;

/// Sends the head of a create, and waits until its handler asks for the body. Returns `None` when the service has
/// ended the connection.
fn begin_create(target: &Target) -> Option<Box<dyn Stream>> {
    let mut stream = target.connect();
    let (authorization, length) = (authorization(), BODY.len());
    let head = format!(
        "POST {CONFIGURATIONS} HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    let answer = read_until(&mut *stream, |text| text.ends_with("\r\n\r\n"))?;
    assert!(answer.starts_with("HTTP/1.1 100 "), "{answer}");
    Some(stream)
}

fn end_create(stream: &mut dyn Stream) {
    stream.write_all(BODY.as_bytes()).expect("sent");
    let answer = read_until(stream, |text| text.contains("\r\n\r\n")).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
}

#[actix_web::test]
async fn connections_beyond_the_bound_wait() {
    if is_remote() {
        return;
    }
    let [(_app, target), (_other, _)] = services(|settings| settings.server.max_connections = 4).await;
    let asked = spawn_blocking(move || {
        let mut busy = Vec::new();
        until_blocking("four requests are in progress", || {
            busy.extend(begin_create(&target));
            busy.len() == 4
        });
        let mut waiting = target.tcp();
        waiting.write_all(REQUEST).expect("sent");
        waiting.set_read_timeout(Some(Duration::from_millis(300))).expect("a socket");
        // Without the bound, the service would answer in this time. A slow machine may need more
        // time, and then the test passes without proof.
        assert!(waiting.read(&mut [0]).is_err(), "it was served beside four others");
        waiting.set_read_timeout(Some(LIMIT)).expect("a socket");
        // The connection whose request has ended makes room.
        end_create(&mut *busy[0]);
        assert!(read_until(&mut waiting, |text| text.ends_with(LIVE)).is_some());
        busy[1..].iter_mut().for_each(|stream| end_create(&mut **stream));
    });
    asked.await.expect("a thread");
}

#[actix_web::test]
#[cfg(target_os = "linux")]
async fn an_address_has_a_bound_of_its_own() {
    if is_remote() {
        return;
    }
    for (_app, target) in services(|settings| settings.server.max_connections_per_address = 2).await {
        let held = target.clone();
        let two = spawn_blocking(move || [held.answered().expect("the first"), held.answered().expect("the second")]);
        let two = two.await.expect("a thread");
        assert_eq!(until_closed(target.tcp()).await, "");
        // On Linux, every address of 127.0.0.0/8 is local.
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.2:0".parse().expect("an address")).expect("an address");
        let other = socket.connect(target.address.parse().expect("an address")).await.expect("the service listens");
        let other = other.into_std().expect("a socket");
        other.set_nonblocking(false).expect("a socket");
        let mut other = target.secured(other);
        spawn_blocking(move || ask(&mut *other).expect("an answer")).await.expect("a thread");
        drop(two);
        until("there is room again", async || {
            let target = target.clone();
            spawn_blocking(move || target.answered().is_some()).await.expect("a thread")
        })
        .await;
    }
}

//! An identity provider for tests.

use std::{
    io::{BufRead, BufReader, ErrorKind, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use jsonwebtoken::{EncodingKey, jwk::Jwk};
use serde_json::{Value, json};

use crate::tokens::new_key;

/// An identity provider that answers one request after the other.
#[derive(Clone)]
pub(super) struct Provider {
    pub(super) origin: String,
    state: Arc<Mutex<State>>,
}

/// The answers of the provider, and counts of its requests.
#[derive(Default)]
pub(super) struct State {
    pub(super) keys: Vec<Value>,
    pub(super) is_down: bool,
    /// Whether the provider receives requests and does not answer them.
    pub(super) is_held: bool,
    /// The issuer in the discovery document, if it is not the provider.
    pub(super) named: Option<String>,
    /// The number of received requests for keys.
    received: usize,
    /// The times of the answers to requests for keys.
    pub(super) answered: Vec<Instant>,
    /// The number of requests that were refused because `is_down` is set.
    pub(super) refused: usize,
    /// The number of requests whose connection the service had closed before the answer.
    abandoned: usize,
}

impl Provider {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let provider = Self { origin, state: Arc::default() };
        let serving = provider.clone();
        thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(|stream| serving.serve(stream)));
        provider
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
        let line = lines.next().unwrap_or_default();
        lines.take_while(|line| !line.is_empty()).for_each(drop);
        let path = line.split(' ').nth(1).unwrap_or_default();
        self.change(|state| state.received += usize::from(path == "/keys"));
        while self.state().is_held {
            thread::sleep(Duration::from_millis(1));
        }
        // A client that still waits has sent everything and has not closed the connection.
        stream.set_nonblocking(true).expect("a socket");
        let is_abandoned = !stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        stream.set_nonblocking(false).expect("a socket");
        self.change(|state| state.abandoned += usize::from(is_abandoned));
        let (status, body) = self.answer(path);
        let head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        // The service may have closed the connection.
        let _ = stream.write_all((head + &body).as_bytes());
    }

    fn answer(&self, path: &str) -> (u16, String) {
        let mut state = self.state();
        let named = state.named.clone().unwrap_or_else(|| self.origin.clone());
        match path {
            _ if state.is_down => {
                state.refused += 1;
                (500, String::new())
            }
            "/.well-known/openid-configuration" => {
                (200, json!({"issuer": named, "jwks_uri": format!("{}/keys", self.origin)}).to_string())
            }
            "/keys" => {
                state.answered.push(Instant::now());
                (200, json!({"keys": state.keys}).to_string())
            }
            _ => (404, String::new()),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the state")
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
    }

    /// Returns the number of answered requests for keys.
    pub(super) fn asked(&self) -> usize {
        self.state().answered.len()
    }

    /// Returns the number of received requests for keys, and the number of requests whose
    /// connection the service had closed before the answer.
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.state();
        (state.received, state.abandoned)
    }

    /// Waits until the provider has answered every earlier request.
    pub(super) async fn answer_all(&self) {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        client.get(&self.origin).send().await.expect("an answer, after all others");
    }

    /// Creates a key with this id and adds it to the keys of the provider.
    pub(super) fn add_key(&self, id: &str) -> EncodingKey {
        let (key, jwk) = new_key();
        self.change(|state| state.keys.push(with_id(&jwk, id)));
        key
    }
}

/// Returns a public key with this id.
pub(super) fn with_id(jwk: &Jwk, id: &str) -> Value {
    let mut jwk = serde_json::to_value(jwk).expect("JSON");
    jwk["kid"] = id.into();
    jwk
}

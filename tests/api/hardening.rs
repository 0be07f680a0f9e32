//! Protection against slow clients, against many clients, and against pages of other sites.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Instant,
};

use devicegraph::config::{Names, Settings};
use reqwest::{Method, StatusCode};
use sqlx::postgres::PgConnectOptions;

use crate::{
    harness::{App, CONFIGURATIONS, LIMIT, database, is_remote, until},
    tokens,
};

mod connections;
mod tls;

/// A timeout in seconds that no test reaches.
const FOREVER: u64 = 3600;

/// Starts the application with a request timeout of one second, and a keep-alive timeout that no
/// test reaches.
async fn impatient(change: impl FnOnce(&mut Settings)) -> App {
    impatient_on(database(true).await, change).await
}

async fn impatient_on(options: PgConnectOptions, change: impl FnOnce(&mut Settings)) -> App {
    App::start_on(options, |settings| {
        settings.server.request_timeout_seconds = 1;
        settings.server.keep_alive_seconds = FOREVER;
        change(settings);
    })
    .await
}

fn connect(app: &App) -> TcpStream {
    let stream = TcpStream::connect(app.origin.trim_start_matches("http://")).expect("the service listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a socket");
    stream.set_write_timeout(Some(LIMIT)).expect("a socket");
    stream
}

/// Returns a connection on which a request was answered. On a slow machine the head can come too
/// late. Then the request is sent again on a new connection.
async fn used_connection(app: &App) -> TcpStream {
    let live = r#"{"status":"live"}"#;
    let mut used = None;
    until("a first request is answered", async || {
        let mut stream = connect(app);
        let ask = move || {
            let (mut text, mut buffer) = (String::new(), [0; 1000]);
            stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").ok()?;
            while !text.ends_with(live) {
                let length = stream.read(&mut buffer).ok().filter(|length| *length > 0)?;
                text.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
            Some(stream)
        };
        used = actix_web::rt::task::spawn_blocking(ask).await.expect("a thread");
        used.is_some()
    })
    .await;
    used.expect("it was answered")
}

fn authorization() -> String {
    let issuer = tokens::issuer().expect("an issuer");
    issuer.bearer(&issuer.claims())
}

/// Returns everything that the service sends until it closes the connection.
async fn until_closed(mut stream: TcpStream) -> String {
    let read = move || {
        let mut text = Vec::new();
        let end = stream.read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text).into_owned();
        match end {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}: it stays open after {text:?}"),
            _ => text,
        }
    };
    actix_web::rt::task::spawn_blocking(read).await.expect("a thread")
}

#[actix_web::test]
async fn every_answer_has_the_headers_for_browsers() {
    let app = App::start().await;
    for path in [CONFIGURATIONS, "/health/live", "/nothing", "/%zz"] {
        let answers = [app.get(path).await, app.answer(app.anonymous(Method::GET, path)).await];
        for answer in answers {
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(answer.header("cache-control"), "no-store", "{path}");
            assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
            assert_eq!(
                answer.header("content-security-policy"),
                "default-src 'none'; frame-ancestors 'none'",
                "{path}"
            );
            assert_eq!(answer.headers.get("strict-transport-security"), None, "{path}");
        }
    }
}

#[actix_web::test]
async fn pages_call_only_from_the_origins_of_the_settings() {
    if is_remote() {
        return;
    }
    let preflight = async |app: &App, origin: &str| {
        let request = app.anonymous(Method::OPTIONS, CONFIGURATIONS).header("origin", origin);
        let request = request.header("access-control-request-method", "PATCH");
        app.answer(request.header("access-control-request-headers", "authorization,content-type")).await
    };
    let allowed = "access-control-allow-origin";
    let closed = App::start().await;
    let answer = preflight(&closed, "https://a.example").await;
    assert_eq!((answer.status, answer.headers.get(allowed)), (StatusCode::UNAUTHORIZED, None));

    let app = App::start_on(database(true).await, |settings| {
        settings.server.cors_origins = Names(vec!["https://a.example".to_owned(), "http://localhost:3000".to_owned()]);
    })
    .await;
    for origin in ["https://a.example", "http://localhost:3000"] {
        let answer = preflight(&app, origin).await;
        assert_eq!((answer.status, answer.header(allowed)), (StatusCode::OK, origin));
        assert!(answer.header("access-control-allow-methods").contains("PATCH"));
        assert!(answer.header("access-control-allow-headers").contains("authorization"));
        let refused = app.answer(app.anonymous(Method::GET, CONFIGURATIONS).header("origin", origin)).await;
        assert_eq!((refused.status, refused.header(allowed)), (StatusCode::UNAUTHORIZED, origin));
        assert!(refused.header("access-control-expose-headers").contains("www-authenticate"));
        refused.refusal();
        let read = app.answer(app.request(Method::GET, CONFIGURATIONS).header("origin", origin)).await;
        assert_eq!((read.status, read.header(allowed)), (StatusCode::OK, origin));
    }
    for origin in ["https://a.example.evil", "http://a.example", "null"] {
        let answer = preflight(&app, origin).await;
        assert_eq!(answer.headers.get(allowed), None, "{origin}");
        assert!(answer.refusal().starts_with(
            "400 BadRequest: The origin of the page, or a method or header that the page wants to send, is not allowed"
        ));
    }
}

#[actix_web::test]
async fn a_body_that_does_not_come_is_408() {
    if is_remote() {
        return;
    }
    let app = impatient(|_| ()).await;
    let mut stream = used_connection(&app).await;
    let authorization = authorization();
    write!(
        stream,
        "POST {CONFIGURATIONS} HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    )
    .expect("sent");
    let answer = until_closed(stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(
        answer.contains(r#""code":"RequestTimeout","message":"The request body did not arrive within 1 seconds."#),
        "{answer}"
    );
}

/// The service closes a connection whose chunked body never ends, before and after it has answered
/// the request.
#[actix_web::test]
async fn a_body_without_end_ends_the_connection_of_any_request() {
    if is_remote() {
        return;
    }
    let options = database(true).await;
    let one = App::start_on(options.clone(), |_| ()).await.configuration().await;
    let app = impatient_on(options, |settings| settings.server.max_body_bytes = 10_000).await;
    let token = format!("authorization: {}\r\n", authorization());
    let mut streams = Vec::new();
    for (request, headers, body) in [
        (format!("POST {CONFIGURATIONS}"), "", ""),
        ("GET /".to_owned(), "", "5\r\nhello\r\n"),
        ("GET /health/live".to_owned(), "", ""),
        ("HEAD /health/live".to_owned(), "", ""),
        ("GET /nothing".to_owned(), token.as_str(), ""),
        (format!("GET {CONFIGURATIONS}"), &token, ""),
        (format!("POST {CONFIGURATIONS}"), &token, ""),
        (format!("DELETE {one}"), &token, ""),
        (format!("POST {CONFIGURATIONS}"), &token, &format!("7d0\r\n{}\r\n", " ".repeat(2000)).repeat(6)),
    ] {
        let mut stream = used_connection(&app).await;
        let head = "host: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked";
        write!(stream, "{request} HTTP/1.1\r\n{headers}{head}\r\n\r\n{body}").expect("sent");
        streams.push(stream);
    }
    let ends = futures_util::future::join_all(streams.into_iter().map(until_closed)).await;
    let statuses: Vec<_> = ends.iter().map(|answer| answer.get(9..12).unwrap_or("none")).collect();
    assert_eq!(statuses, ["401", "200", "200", "200", "404", "200", "408", "204", "413"]);
    // A client that sends the body without a pause is cut off, too.
    let mut stream = used_connection(&app).await;
    write!(stream, "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").expect("sent");
    let sent = actix_web::rt::task::spawn_blocking(move || {
        let (chunk, begun) = (format!("7d0\r\n{}\r\n", " ".repeat(2000)), Instant::now());
        loop {
            match stream.write_all(chunk.as_bytes()) {
                Ok(()) => assert!(begun.elapsed() < LIMIT, "it is read for as long as it comes"),
                Err(error) => break error.kind(),
            }
        }
    });
    let end = sent.await.expect("a thread");
    assert!(matches!(end, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{end}");
    assert_eq!(app.get("/health/live").await.status, StatusCode::OK);
}

#[actix_web::test]
async fn a_head_that_does_not_come_ends_the_connection_and_so_does_idling() {
    if is_remote() {
        return;
    }
    // actix-http adds these limits to a clock that it reads twice a second. On a busy machine that
    // clock can be late by more than a second. A limit that is over before its timer starts
    // never ends the connection.
    let heads = impatient(|settings| settings.server.request_timeout_seconds = 10).await;
    let pauses = impatient(|settings| {
        settings.server.request_timeout_seconds = FOREVER;
        settings.server.keep_alive_seconds = 10;
    })
    .await;
    let ends = [
        ("nothing", &heads, "", false),
        ("half", &heads, "GET /health/live HTTP/1.1\r\nhost: x\r\nx-", false),
        ("idle", &pauses, "GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n", true),
    ]
    .map(async |(what, app, sent, is_answered)| {
        let mut stream = connect(app);
        stream.write_all(sent.as_bytes()).expect("sent");
        let answer = until_closed(stream).await;
        assert_eq!(answer.contains(r#"{"status":"live"}"#), is_answered, "{what}: {answer}");
    });
    futures_util::future::join_all(ends).await;
}

/// Returns whether the kernel lists the service's side of this connection.
#[cfg(target_os = "linux")]
fn is_open(client: &TcpStream) -> bool {
    let hex = |address: std::io::Result<std::net::SocketAddr>| format!(":{:04X}", address.expect("an address").port());
    let (service, client) = (hex(client.peer_addr()), hex(client.local_addr()));
    let connections = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
    connections.lines().any(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let mut ends_with = |port: &str| columns.next().is_some_and(|address| address.ends_with(port));
        ends_with(&service) && ends_with(&client)
    })
}

#[actix_web::test]
#[cfg(target_os = "linux")]
async fn an_answer_that_is_left_unread_ends_the_connection() {
    if is_remote() {
        return;
    }
    let options = database(true).await;
    let patient = App::start_on(options.clone(), |_| ()).await;
    let name = "x".repeat(500_000);
    let body = serde_json::json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": name});
    for _ in 0..20 {
        assert_eq!(patient.post(CONFIGURATIONS, &body).await.status, StatusCode::CREATED);
    }
    let app = App::start_on(options, |settings| settings.server.request_timeout_seconds = 1).await;
    let mut stream = used_connection(&app).await;
    let authorization = authorization();
    write!(stream, "GET {CONFIGURATIONS} HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\n\r\n").expect("sent");
    until("the service closes the connection", async || !is_open(&stream)).await;
    let answer = until_closed(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{:?}", answer.get(..100));
    assert!(answer.len() < 10_000_000, "all of it came: {} bytes", answer.len());
    assert_eq!(app.get("/health/live").await.status, StatusCode::OK);
}

#[actix_web::test]
async fn headers_have_a_limit() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    for head in [
        (0..200).map(|number| format!("x-{number}: x\r\n")).collect::<String>(),
        format!("x: {}\r\n", "x".repeat(200_000)),
    ] {
        let mut stream = connect(&app);
        // The service may close the connection during this write.
        let _ = write!(stream, "GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}\r\n");
        let answer = until_closed(stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let long_token = format!("Bearer {}", "x".repeat(60_000));
    let answer = app.answer(app.anonymous(Method::GET, CONFIGURATIONS).header("authorization", long_token)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

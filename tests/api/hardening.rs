//! Clients that are slow, many, or browsers; and TLS.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use devicegraph::{
    config::{Names, Settings},
    tls::Certificate,
};
use reqwest::{Method, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};

use crate::{
    harness::{App, CONFIGURATIONS, database, is_remote, reachable_folder},
    tokens,
};

/// The application with a second of patience.
async fn impatient(change: impl FnOnce(&mut Settings)) -> App {
    App::start_on(database(true).await, |settings| {
        settings.server.request_timeout_seconds = 1;
        settings.server.keep_alive_seconds = 1;
        change(settings);
    })
    .await
}

fn connect(app: &App) -> TcpStream {
    let stream = TcpStream::connect(app.origin.trim_start_matches("http://")).expect("the service listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    stream
}

fn authorization() -> String {
    let issuer = tokens::issuer().expect("an issuer");
    issuer.bearer(&issuer.claims())
}

/// What comes until the service closes the connection, and after what time it does.
async fn until_closed(mut stream: TcpStream) -> (String, Duration) {
    let read = move || {
        let (mut text, begun) = (Vec::new(), Instant::now());
        match stream.read_to_end(&mut text) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}: it stays open"),
            _ => (String::from_utf8_lossy(&text).into_owned(), begun.elapsed()),
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
        assert!(
            answer.refusal().starts_with("400 BadRequest: The page's origin, or what it asks to send, is not allowed")
        );
    }
}

#[actix_web::test]
async fn a_body_that_does_not_come_is_408() {
    if is_remote() {
        return;
    }
    let app = impatient(|_| ()).await;
    let mut stream = connect(&app);
    let authorization = authorization();
    write!(
        stream,
        "POST {CONFIGURATIONS} HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    )
    .expect("sent");
    let (answer, time) = until_closed(stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(
        answer.contains(r#""code":"RequestTimeout","message":"The request body did not come within 1 seconds."#),
        "{answer}"
    );
    assert!(time < Duration::from_secs(8), "{time:?}");
}

/// A body without a length that never ends, on its own and after an answer.
#[actix_web::test]
async fn a_body_without_end_ends_the_connection_whoever_sends_it() {
    if is_remote() {
        return;
    }
    let app = impatient(|settings| settings.server.max_body_bytes = 10_000).await;
    let token = format!("authorization: {}\r\n", authorization());
    let one = app.configuration().await;
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
        let mut stream = connect(&app);
        let head = "host: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked";
        write!(stream, "{request} HTTP/1.1\r\n{headers}{head}\r\n\r\n{body}").expect("sent");
        streams.push((request, stream));
    }
    let (requests, streams): (Vec<_>, Vec<_>) = streams.into_iter().unzip();
    let ends = futures_util::future::join_all(streams.into_iter().map(until_closed)).await;
    let mut statuses = Vec::new();
    for (request, (answer, time)) in requests.iter().zip(ends) {
        assert!(time < Duration::from_secs(9), "{request}: {time:?}");
        statuses.push(answer.get(9..12).unwrap_or("none").to_owned());
    }
    assert_eq!(statuses, ["401", "200", "200", "200", "404", "200", "408", "204", "413"]);
    // One that goes on and on is not read for long.
    let mut stream = connect(&app);
    write!(stream, "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").expect("sent");
    let sent = actix_web::rt::task::spawn_blocking(move || {
        let (chunk, begun) = (format!("7d0\r\n{}\r\n", " ".repeat(2000)), Instant::now());
        while begun.elapsed() < Duration::from_secs(9) && stream.write_all(chunk.as_bytes()).is_ok() {}
        begun.elapsed()
    });
    assert!(sent.await.expect("a thread") < Duration::from_secs(9), "it is read for as long as it comes");
    assert_eq!(app.get("/health/live").await.status, StatusCode::OK);
}

#[actix_web::test]
async fn a_head_that_does_not_come_ends_the_connection_and_so_does_idling() {
    if is_remote() {
        return;
    }
    let app = impatient(|_| ()).await;
    let nothing = connect(&app);
    let mut half = connect(&app);
    half.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\nx-").expect("sent");
    let mut idle = connect(&app);
    idle.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
    let mut second_half = connect(&app);
    second_half.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\nGET /health").expect("sent");
    let ends = futures_util::future::join_all([nothing, half, idle, second_half].map(until_closed)).await;
    for (what, (answer, time)) in ["nothing", "half", "idle", "second half"].iter().zip(ends) {
        assert!(time < Duration::from_secs(8), "{what}: {time:?}");
        assert_eq!(answer.contains(r#"{"status":"live"}"#), ["idle", "second half"].contains(what), "{what}: {answer}");
    }
}

#[actix_web::test]
#[cfg(target_os = "linux")]
async fn an_answer_that_is_left_unread_ends_the_connection() {
    if is_remote() {
        return;
    }
    let app = impatient(|_| ()).await;
    let name = "x".repeat(500_000);
    let body = serde_json::json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": name});
    for _ in 0..20 {
        assert_eq!(app.post(CONFIGURATIONS, &body).await.status, StatusCode::CREATED);
    }
    let mut stream = connect(&app);
    let authorization = authorization();
    write!(stream, "GET {CONFIGURATIONS} HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\n\r\n").expect("sent");
    actix_web::rt::time::sleep(Duration::from_secs(5)).await;
    let (answer, _) = until_closed(stream).await;
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
        // It may close the connection in the middle of it.
        let _ = write!(stream, "GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}\r\n");
        let (answer, _) = until_closed(stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let long_token = format!("Bearer {}", "x".repeat(60_000));
    let answer = app.answer(app.anonymous(Method::GET, CONFIGURATIONS).header("authorization", long_token)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[actix_web::test]
async fn connections_beyond_the_bound_wait() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, |settings| settings.server.max_connections = 2).await;
    let ask = |mut stream: TcpStream| {
        stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
        stream.set_read_timeout(Some(Duration::from_millis(700))).expect("a socket");
        let mut answer = [0; 1000];
        let length = stream.read(&mut answer).ok();
        (stream, length)
    };
    let asked = actix_web::rt::task::spawn_blocking({
        let streams: Vec<_> = (0..6).map(|_| connect(&app)).collect();
        move || {
            let (mut answered, waiting): (Vec<_>, Vec<_>) =
                streams.into_iter().map(ask).partition(|(_, length)| length.is_some());
            let held = answered.len();
            answered.clear();
            // Those that waited are served when there is room.
            let mut waiting: Vec<_> = waiting.into_iter().map(|(stream, _)| stream).collect();
            let mut stream = waiting.remove(0);
            let length = stream.read(&mut [0; 1000]).ok();
            (held, length)
        }
    });
    let (held, after) = asked.await.expect("a thread");
    assert!((2..=4).contains(&held), "{held} of 6 were served at once");
    assert!(after.is_some_and(|length| length > 0), "who waited is served");
}

/// A certificate for `localhost` in two files of a folder; the certificate.
fn certificate(folder: &std::path::Path) -> (PathBuf, PathBuf, ureq::tls::Certificate<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (chain, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    std::fs::write(&chain, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    (chain, key, ureq::tls::Certificate::from_der(made.cert.der()).to_owned())
}

#[actix_web::test]
async fn with_a_certificate_it_speaks_https_and_nothing_else() {
    if is_remote() {
        return;
    }
    let folder = reachable_folder();
    let (chain, key, trusted) = certificate(&folder);
    let app = impatient(|settings| {
        settings.server.tls_certificate = Some(chain);
        settings.server.tls_key = Some(key);
    })
    .await;
    let address = app.origin.strip_prefix("https://127.0.0.1").expect("its origin is https").to_owned();
    let origin = format!("https://localhost{address}");
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[trusted]))
        .unversioned_rustls_crypto_provider(std::sync::Arc::new(rustls::crypto::ring::default_provider()));
    let agent = ureq::Agent::config_builder().tls_config(tls.build()).http_status_as_error(false).build().new_agent();
    let authorization = authorization();
    let body = r##"{"@odata.type":"#microsoft.graph.iosCustomConfiguration","displayName":"a test"}"##;
    let created = actix_web::rt::task::spawn_blocking(move || {
        let url = format!("{origin}{CONFIGURATIONS}");
        let create =
            agent.post(&url).header("authorization", &authorization).header("content-type", "application/json");
        let created = create.send(body).expect("an answer");
        assert_eq!(created.status(), 201);
        assert_eq!(created.headers()["strict-transport-security"], "max-age=31536000");
        let location = created.headers()["location"].to_str().expect("text").to_owned();
        assert!(location.starts_with(&origin), "{location}");
        assert_eq!(agent.get(&url).call().expect("an answer").status(), 401);
    });
    created.await.expect("a thread");
    // Plain HTTP gets no answer.
    let mut plain = TcpStream::connect(format!("127.0.0.1{address}")).expect("the service listens");
    plain.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
    let (answer, _) = until_closed(plain).await;
    assert!(!answer.contains("HTTP/"), "{answer}");
    // And a client that does not begin to speak TLS is not waited for.
    let silent = TcpStream::connect(format!("127.0.0.1{address}")).expect("the service listens");
    silent.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    let (_, time) = until_closed(silent).await;
    assert!(time < Duration::from_secs(8), "{time:?}");
    std::fs::remove_dir_all(folder).expect("a folder");
}

#[test]
fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
    let folder = reachable_folder();
    let mut settings = crate::harness::settings().server;
    let files = certificate(&folder);
    (settings.tls_certificate, settings.tls_key) = (Some(files.0.clone()), Some(files.1.clone()));
    let loaded = Certificate::load(&settings).expect("it is right").expect("it is set");
    let first = loaded.current().cert.clone();
    assert!(!loaded.renew().expect("nothing is wrong"), "nothing has changed");
    std::fs::write(&files.1, "no key").expect("a file");
    let error = format!("{:#}", loaded.renew().expect_err("a broken key"));
    assert!(error.starts_with("server.tls_key: ") && error.ends_with("tls.key holds no private key in PEM"), "{error}");
    assert_eq!(loaded.current().cert, first);
    certificate(&folder);
    assert!(loaded.renew().expect("it is right"));
    assert_ne!(loaded.current().cert, first);

    // The key of another certificate.
    let other = reachable_folder();
    certificate(&other);
    std::fs::copy(other.join("tls.key"), &files.1).expect("a file");
    let error = format!("{:#}", Certificate::load(&settings).expect_err("they do not fit"));
    assert!(error.contains("is not that of the certificate in"), "{error}");
    std::fs::write(&files.0, "").expect("a file");
    let error = format!("{:#}", Certificate::load(&settings).expect_err("an empty file"));
    assert!(error.ends_with("holds no certificate in PEM"), "{error}");
    settings.tls_key = None;
    let error = format!("{:#}", Certificate::load(&settings).expect_err("half"));
    assert_eq!(error, "server.tls_certificate is set and server.tls_key is not; set both");
    for folder in [folder, other] {
        std::fs::remove_dir_all(folder).expect("a folder");
    }
}

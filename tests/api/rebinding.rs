//! DNS rebinding: the hosts that a request may name while authorization is off.

use std::{io::Write, net::TcpStream};

use devicegraph::config::{AuthMode, Names};

use crate::{
    harness::{App, database, is_remote},
    service::read_answer,
};

async fn ask(app: &App, request: String) -> (u16, String) {
    let address = app.origin.trim_start_matches("http://").to_owned();
    let ask = move || {
        let mut stream = TcpStream::connect(address).expect("the service listens");
        write!(stream, "{request}").expect("sent");
        read_answer(&mut stream).expect("an answer")
    };
    // The service runs on the thread of the test, so the blocking client needs another thread.
    actix_web::rt::task::spawn_blocking(ask).await.expect("a thread")
}

async fn app(mode: AuthMode) -> App {
    App::start_on(database(true).await, |settings| {
        if mode == AuthMode::Disabled {
            settings.auth = crate::harness::settings().auth;
        }
        settings.auth.mode = Some(mode);
        settings.server.allowed_hosts = Names(vec!["devices.example.com".to_owned()]);
    })
    .await
}

#[actix_web::test]
async fn a_page_that_points_its_name_at_this_machine_is_refused() {
    if is_remote() {
        return;
    }
    let app = app(AuthMode::Disabled).await;
    let get = async |path: &str, host: &str| {
        ask(&app, format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")).await
    };
    for host in ["localhost:8080", "127.0.0.1", "[::1]:1", "devicegraph:8080", "a.localhost", "Devices.Example.com:443"]
    {
        assert_eq!(get("/v1.0/deviceManagement/deviceConfigurations", host).await.0, 200, "{host}");
    }
    for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "devices.example.com.evil.example"] {
        for path in ["/v1.0/deviceManagement/deviceConfigurations", "/", "/health/ready", "/metrics", "/nothing"] {
            assert_eq!(get(path, host).await.0, 421, "{host} {path}");
        }
        assert_eq!(get(&format!("http://{host}/health/live"), "localhost").await.0, 421, "{host}");
    }
    let (status, text) = get("/v1.0/deviceManagement/deviceConfigurations", "evil.example").await;
    let expected = "The request names the host 'evil.example', which is not a name of this service. Call the service by its IP address or as localhost, or ask an operator to add the name to server.allowed_hosts.";
    assert!(status == 421 && text.contains(r#""code":"MisdirectedRequest""#) && text.contains(expected), "{text}");
    // A health check may have no Host header.
    assert_eq!(ask(&app, "GET /health/ready HTTP/1.0\r\n\r\n".to_owned()).await.0, 200);
}

#[actix_web::test]
async fn with_tokens_every_host_may_be_named() {
    if is_remote() {
        return;
    }
    let app = app(AuthMode::Jwt).await;
    let request = "GET /health/live HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert_eq!(ask(&app, request.to_owned()).await.0, 200);
}

//! The binary as an operator runs it: settings, refusals to start, commands, stop.

use std::{
    ffi::OsStr,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::ffi::OsStrExt,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};

use crate::{
    harness::{database, is_remote, until, until_blocking, url},
    service::{Folder, Service, devicegraph, end_of, lock_waits, read_answer, refusal, request, until_lock_waits},
};

/// A stop that does not wait for the requests in flight ends them within this time. A slow machine
/// may need more time, and then the test passes without proof.
const MOMENT: Duration = Duration::from_millis(100);

#[test]
fn a_setting_that_does_not_exist_is_named() {
    let folder = Folder::new();
    let start = || devicegraph(&folder.0);
    assert_eq!(
        refusal(start().env("DEVICEGRAPH_SERVER_PORT", "9090")),
        "the variable DEVICEGRAPH_SERVER_PORT is not a setting: write DEVICEGRAPH__SECTION__KEY with two underscores, or unset it"
    );
    for (name, value, message) in [
        ("DEVICEGRAPH__SERVER__PRT", "9090", "unknown field `prt`"),
        ("DEVICEGRAPH__SERVR__PORT", "9090", "unknown field `servr`"),
        ("DEVICEGRAPH__SERVER__PORT", "http", "server.port"),
        ("DEVICEGRAPH__SERVER__PORT", "70000", "server.port"),
        ("DEVICEGRAPH__AUTH__MODE", "none", "auth.mode"),
        ("DEVICEGRAPH__AUTH__ISUER", "x", "unknown field `isuer`"),
        ("DEVICEGRAPH__LOG__FILTER", "a=b=c", "log.filter"),
        ("DEVICEGRAPH__SERVER__MAX_BODY_BYTES", "0", "server.max_body_bytes is 0"),
        ("DEVICEGRAPH__SERVER__TLS_HANDSHAKE_TIMEOUT_SECONDS", "0", "server.tls_handshake_timeout_seconds is 0"),
        ("DEVICEGRAPH__SERVER__CLOSE_IDLE_ABOVE_PERCENT", "0", "server.close_idle_above_percent is 0"),
        ("DEVICEGRAPH__SERVER__CLOSE_IDLE_ABOVE_PERCENT", "101", "server.close_idle_above_percent is 101"),
        ("DEVICEGRAPH__DATABASE__MAX_CONNECTIONS", "0", "database.max_connections is 0"),
        ("DEVICEGRAPH__DATABASE__ACQUIRE_TIMEOUT_MS", "0", "database.acquire_timeout_ms is 0"),
        (
            "DEVICEGRAPH__SERVER__HOST",
            "no such host",
            "server.host: 'no such host' is neither an address nor a host name that can be resolved; correct it",
        ),
    ] {
        let said = refusal(start().env(name, value));
        assert!(said.contains(message), "{name}={value}: {said}");
    }
    std::fs::write(folder.0.join("devicegraph.toml"), "[server]\nprt = 1\n").expect("a file");
    let said = refusal(&mut start());
    assert!(said.contains("unknown field `prt`"), "{said}");
    let said = refusal(start().args(["--config", "missing.toml"]));
    assert!(said.contains("missing.toml"), "{said}");
    assert_eq!(start().arg("sirve").output().expect("the binary runs").status.code(), Some(1));
}

#[test]
fn no_message_shows_a_secret_of_the_settings() {
    let folder = Folder::new();
    for text in [
        "[secrets]\nkey = hunter2\n",
        "[secrets]\nkey = \"hunter2\n",
        "[secrets]\nkey = \"a\"\nkey = \"hunter2\"\n",
        "[secrets]\nkey = [\"hunter2\"]\n",
        "[secrets]\nkey = { hunter2 = 1 }\n",
        "[secrets\nkey = \"hunter2\"\n",
        "[secrets]\nkey = \"hunter2\"\n",
        "[database]\nurl = hunter2\n",
        "[database]\nurl = \"hunter2\"\n",
    ] {
        std::fs::write(folder.0.join("devicegraph.toml"), text).expect("a file");
        let said = refusal(&mut devicegraph(&folder.0));
        assert!(!said.contains("hunter2"), "{text}: {said}");
    }
    std::fs::write(folder.0.join("devicegraph.toml"), "").expect("a file");
    for name in ["SECRETS", "DATABASE", "AUTH", "SERVER__PORT"] {
        let said = refusal(devicegraph(&folder.0).env(format!("DEVICEGRAPH__{name}"), "hunter2"));
        assert!(!said.contains("hunter2"), "{name}: {said}");
    }
    for name in ["DEVICEGRAPH__SECRETS__KEY", "devicegraph__secrets__key", "DEVICEGRAPH__DATABASE__URL", "DATABASE_URL"]
    {
        let said = refusal(devicegraph(&folder.0).env(name, OsStr::from_bytes(b"hunter2\xff")));
        assert_eq!(said, format!("the value of the variable {name} is not UTF-8; set it to UTF-8 text, or unset it"));
    }
}

#[test]
fn the_service_listens_on_public_addresses_only_with_an_explicit_auth_mode() {
    let folder = Folder::new();
    let said = refusal(devicegraph(&folder.0).env("DEVICEGRAPH__SERVER__HOST", "0.0.0.0"));
    assert!(
        said.starts_with("server.host: 0.0.0.0:0 can be reached from other machines, and auth.mode is not set;"),
        "{said}"
    );
}

#[test]
fn a_port_that_is_taken_is_named() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let said = refusal(folder.command().env("DEVICEGRAPH__SERVER__PORT", port.to_string()));
    assert!(
        said.starts_with(&format!(
            "cannot listen on 127.0.0.1:{port}; stop the program that uses the address, or set server.host and server.port"
        )),
        "{said}"
    );
    assert!(!folder.data_dir().exists(), "no folder is created before the port is free");
}

#[test]
fn a_host_name_that_no_request_could_match_is_named_before_anything_is_made() {
    let folder = Folder::new();
    let said = refusal(folder.command().env("DEVICEGRAPH__SERVER__ALLOWED_HOSTS", "a.example.com,*.example.com"));
    assert!(said.starts_with("server.allowed_hosts: '*.example.com' is not a host name, "), "{said}");
    assert!(!folder.data_dir().exists(), "no folder is created before the settings are valid");
}

#[actix_web::test]
async fn a_database_that_cannot_be_used_is_named_with_the_remedy() {
    if is_remote() {
        return;
    }
    let folder = Folder::new();
    let options = database(true).await;
    let right = url(&options, "asked:right");
    for (url, message) in [
        ("postgres://u:secret@127.0.0.1:1/d".to_owned(), "cannot use PostgreSQL at 127.0.0.1:1: "),
        ("mysql://u:secret@127.0.0.1/d".to_owned(), "database.url (or DATABASE_URL) is not a PostgreSQL URL"),
        (
            right.replace("right", "secret"),
            "password authentication failed for user \"asked\"; correct the user and the password",
        ),
        (right.replace("/test_", "/no_such_"), "does not exist; create the database, or correct its name"),
    ] {
        let said = refusal(devicegraph(&folder.0).env("DATABASE_URL", &url));
        assert!(said.contains(message), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

#[actix_web::test]
async fn a_database_of_a_later_release_is_accepted_if_its_migrations_only_add() {
    if is_remote() {
        return;
    }
    let folder = Folder::new();
    let options = database(true).await;
    let mut connection = options.connect().await.expect("a database");
    let later = |version: u32, name: &str| {
        format!(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES ({version}, '{name}', true, '', 0)"
        )
    };
    connection.execute(AssertSqlSafe(later(9998, "expand something"))).await.expect("a later migration");
    let service = Service::start(folder.command_on(&options).env("DEVICEGRAPH__LOG__FORMAT", "json"));
    service.until_ready();
    assert!(service.stop(Signal::SIGTERM).success());

    connection.execute(AssertSqlSafe(later(9999, "contract something"))).await.expect("a later migration");
    for migrate in ["true", "false"] {
        let mut command = devicegraph(&folder.0);
        let output = command
            .env("DATABASE_URL", url(&options, "devicegraph"))
            .env("DEVICEGRAPH__LOG__FILTER", "warn")
            .env("DEVICEGRAPH__DATABASE__MIGRATE", migrate);
        let said = refusal(output);
        assert!(
            said.starts_with("the database has migration 9999 (contract something), which this release does not know"),
            "{said}"
        );
    }
}

#[actix_web::test]
async fn migrate_applies_the_migrations_and_ends() {
    if is_remote() {
        return;
    }
    let folder = Folder::new();
    let options = database(false).await;
    let start = || folder.command_on(&options);
    let waiting = Service::start(start().env("DEVICEGRAPH__DATABASE__MIGRATE", "false"));
    assert!(!waiting.is_ready());
    let (first, second) = (start().arg("migrate").spawn(), start().arg("migrate").spawn());
    for migrate in [first, second] {
        let output = migrate.expect("the binary runs").wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    waiting.until_ready();
    waiting.create("after");
}

#[actix_web::test]
async fn a_role_that_may_not_migrate_is_told_the_remedy() {
    if is_remote() {
        return;
    }
    let folder = Folder::new();
    let options = database(false).await;
    // This is the default of PostgreSQL 15 and later.
    let mut connection = options.connect().await.expect("a database");
    connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await.expect("the owner may");
    let said = refusal(devicegraph(&folder.0).env("DATABASE_URL", url(&options, "asked:right")));
    assert_eq!(
        said,
        "the database cannot be migrated: permission denied for schema public; run `devicegraph migrate` as the owner of the tables, and set database.migrate to false here"
    );
}

#[test]
fn the_log_has_one_line_per_request_without_query_and_body() {
    let folder = Folder::used();
    let service = Service::start(folder.command().env("DEVICEGRAPH__LOG__FORMAT", "json"));
    service.request("POST", "/v1.0/deviceManagement/deviceConfigurations?secret=1", r#"{"displayName":"secret"}"#);
    let line = service.wait_for("\"request\"");
    let entry: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!((&entry["method"], &entry["status"]), (&"POST".into(), &400.into()), "{line}");
    assert_eq!(entry["path"], "/v1.0/deviceManagement/deviceConfigurations");
    assert!(entry["request_id"].as_str().is_some_and(|id| id.len() == 36), "{line}");
    assert!(!line.contains("secret"), "{line}");
    assert!(service.stop(Signal::SIGINT).success());
}

#[test]
fn the_log_says_where_the_api_the_console_and_the_database_are() {
    let folder = Folder::used();
    for format in ["pretty", "json"] {
        let mut command = folder.command();
        // Every interface, which a browser cannot open.
        command.env("DEVICEGRAPH__SERVER__HOST", "0.0.0.0").env("DEVICEGRAPH__AUTH__MODE", "disabled");
        let service = Service::start(command.env("DEVICEGRAPH__LOG__FORMAT", format));
        let port = service.address.strip_prefix("0.0.0.0:").expect("the address of the settings");
        let data_dir = folder.data_dir();
        let data_dir = data_dir.display();
        let expected = [
            format!("listening on http://0.0.0.0:{port} with the API at /v1.0/deviceManagement/deviceConfigurations"),
            format!("console: open http://127.0.0.1:{port}/ in a browser"),
            format!("database: the private database in {data_dir}, open it with psql \"$(cat {data_dir}/url)\""),
        ];
        let lines = [service.listening.clone(), service.wait_for("console: "), service.wait_for("database: ")];
        for (line, expected) in lines.iter().zip(&expected) {
            match format {
                "json" => {
                    let entry: serde_json::Value = serde_json::from_str(line).expect("JSON");
                    assert_eq!(entry["message"], **expected, "{line}");
                }
                _ => assert!(line.ends_with(expected), "{line}"),
            }
        }
        assert!(folder.url().starts_with("postgresql://"), "the command reads this file");
        assert_eq!(service.request("GET", "/v1.0/deviceManagement/deviceConfigurations", "").0, 200);
        assert!(service.stop(Signal::SIGTERM).success());
    }
}

#[actix_web::test]
async fn the_log_names_a_database_of_the_settings_without_its_password() {
    if is_remote() {
        return;
    }
    let folder = Folder::new();
    let options = database(true).await;
    let mut command = folder.command_on(&options);
    let service = Service::start(command.env("DATABASE_URL", url(&options, "devicegraph:hunter2")));
    let line = service.wait_for("database: ");
    let (name, socket) = (options.get_database().expect("a name"), options.get_socket().expect("a socket"));
    assert!(line.ends_with(&format!("database: the database {name} at {}", socket.display())), "{line}");
    let log = service.log_until_stopped(Signal::SIGTERM);
    assert!(!log.contains("hunter2") && !line.contains("hunter2"), "{log}");
}

#[actix_web::test]
async fn a_signal_ends_a_start_that_waits() {
    if is_remote() {
        return;
    }
    let folder = Folder::new();
    let options = database(true).await;
    let mut connection = options.connect().await.expect("a database");
    connection.execute("BEGIN; LOCK TABLE _sqlx_migrations").await.expect("a lock");
    let mut waiting = folder.command_on(&options).spawn().expect("the binary runs");
    until_lock_waits(&options, 1).await;
    kill(Pid::from_raw(waiting.id().cast_signed()), Signal::SIGTERM).expect("it runs");
    assert!(end_of(&mut waiting).success());
    connection.execute("COMMIT").await.expect("the lock was held until now");
}

/// A stop waits for the request, whichever worker has it and whichever worker opened the
/// connections.
#[actix_web::test]
async fn a_stop_waits_for_the_database() {
    if is_remote() {
        return;
    }
    // Run the four at the same time. Each takes a second, because a worker that stops checks its
    // requests once a second.
    let stop = |before| move || actix_web::rt::System::new().block_on(stop_during_a_create(before));
    let stops: Vec<_> = (0..4).map(|before| thread::spawn(stop(before))).collect();
    for stop in stops {
        stop.join().expect("a stop that waits");
    }
}

/// Stops a service during a create, which must still be answered. The service has answered `before`
/// creates before that.
async fn stop_during_a_create(before: usize) {
    let (folder, options) = (Folder::new(), database(true).await);
    let mut service = Service::start(folder.command_on(&options).env("DEVICEGRAPH__LOG__FILTER", "info"));
    (0..before).for_each(|_| service.create("before"));
    let mut session = options.connect().await.expect("a database");
    session.execute("BEGIN; LOCK TABLE device_configurations IN SHARE MODE").await.expect("the lock");
    let address = service.address.clone();
    let body = r##"{"@odata.type":"#microsoft.graph.iosCustomConfiguration","displayName":"in flight"}"##;
    let in_flight = thread::spawn(move || request(&address, "POST", "/deviceManagement/deviceConfigurations", body));
    let mut observer = options.connect().await.expect("a database");
    until("the create waits", async || in_flight.is_finished() || lock_waits(&mut observer).await == 1).await;
    service.signal(Signal::SIGTERM);
    service.wait_for("stopping");
    // The other workers have no requests. They end and close the connections that they opened.
    let workers = thread::available_parallelism().map_or(1, usize::from).min(16);
    (0..workers).for_each(|_| drop(service.wait_for(" worker")));
    thread::sleep(MOMENT);
    session.execute("COMMIT").await.expect("the lock goes");
    let (status, text) = in_flight.join().expect("a client").expect("an answer");
    assert!(service.ended().success());
    assert_eq!(status, 201, "{before} before: {text}");
}

#[test]
fn a_stop_under_load_answers_the_accepted_requests_and_loses_no_row() {
    let folder = Folder::used();
    for _ in 0..2 {
        let service = Service::start(&mut folder.command());
        let (answered, is_told) = (AtomicUsize::new(0), AtomicBool::new(false));
        let acknowledged: Vec<String> = thread::scope(|scope| {
            let client = |worker: usize| {
                let (address, answered, is_told) = (&service.address, &answered, &is_told);
                move || {
                    let mut created = Vec::new();
                    for n in 0.. {
                        let name = format!("{worker}-{n}");
                        let body = format!(
                            r##"{{"@odata.type":"#microsoft.graph.iosCustomConfiguration","displayName":"{name}"}}"##
                        );
                        match request(address, "POST", "/v1.0/deviceManagement/deviceConfigurations", &body) {
                            Ok((201, text)) => {
                                created.push(text.split(r#""id":""#).nth(1).expect("an id")[..36].to_owned());
                                answered.fetch_add(1, Relaxed);
                            }
                            Ok((status, text)) => panic!("{status} {text}"),
                            // The service has stopped and accepts no connection.
                            Err(_) if is_told.load(Relaxed) => break,
                            Err(error) => panic!("{error}"),
                        }
                    }
                    created
                }
            };
            let clients: Vec<_> = (0..8).map(|worker| scope.spawn(client(worker))).collect();
            until_blocking("50 creates are answered, or a client has failed", || {
                answered.load(Relaxed) >= 50 || clients.iter().any(|client| client.is_finished())
            });
            is_told.store(true, Relaxed);
            service.signal(Signal::SIGTERM);
            clients.into_iter().flat_map(|client| client.join().expect("every answer is 201")).collect()
        });
        assert!(acknowledged.len() >= 50, "{}", acknowledged.len());
        let mut service = service;
        assert!(service.ended().success());
        let service = Service::start(&mut folder.command());
        let is_lost = |id: &&String| {
            service.request("GET", &format!("/v1.0/deviceManagement/deviceConfigurations/{id}?$select=id"), "").0 != 200
        };
        let lost: Vec<_> = acknowledged.iter().filter(is_lost).collect();
        assert!(lost.is_empty(), "{} of {}: {lost:?}", lost.len(), acknowledged.len());
        assert!(service.stop(Signal::SIGTERM).success());
    }
}

#[test]
fn a_second_signal_does_not_wait_for_requests_in_flight() {
    let folder = Folder::used();
    let mut service = Service::start(&mut folder.command());
    let mut in_flight = TcpStream::connect(&service.address).expect("the service listens");
    let head = "POST /v1.0/deviceManagement/deviceConfigurations HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n";
    write!(in_flight, "{head}").expect("sent");
    service.until_in_flight(1);
    service.signal(Signal::SIGINT);
    service.wait_for("stopping");
    // The client may take an hour to send the body, and the first signal waits for it.
    service.signal(Signal::SIGINT);
    service.wait_for("second signal");
    assert!(service.ended().success());
    drop(in_flight);
}

#[test]
fn a_stop_finishes_requests_in_flight_and_does_not_wait_for_idle_connections() {
    let folder = Folder::used();
    let mut service = Service::start(&mut folder.command());
    let connect = || TcpStream::connect(&service.address).expect("the service listens");
    // Keep an idle connection open, as the connection pool of a client does.
    let mut idle = connect();
    write!(idle, "GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
    let mut head = [0; 16];
    idle.read_exact(&mut head).expect("an answer");

    let body = r##"{"@odata.type":"#microsoft.graph.iosCustomConfiguration","displayName":"in flight"}"##;
    let mut in_flight = connect();
    let head = format!(
        "POST /v1.0/deviceManagement/deviceConfigurations HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    write!(in_flight, "{head}{}", &body[..20]).expect("sent");
    service.until_in_flight(1);
    service.signal(Signal::SIGTERM);
    service.wait_for("stopping");
    thread::sleep(MOMENT);
    write!(in_flight, "{}", &body[20..]).expect("sent");
    let (status, text) = read_answer(&mut in_flight).expect("an answer");
    // The client keeps the idle connection open, and the service would keep it for an hour.
    assert_eq!(service.ended().code(), Some(0));
    drop(idle);
    assert_eq!(status, 201, "{text}");
    assert!(Service::start(&mut folder.command()).holds("in flight"));
}

//! The commands of the binary, except the one that runs the service.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;
use sqlx::{ConnectOptions, Executor};

use crate::{
    harness::{database, is_remote, until_blocking, url},
    service::{Folder, Service, devicegraph, refusal, success, until_lock_waits},
};

/// Writes a file of 101 JSON values.
fn many_values(folder: &Folder) -> PathBuf {
    let file = folder.0.join("many.json");
    std::fs::write(&file, format!("[{}]", ["1"; 100].join(","))).expect("a file");
    file
}

#[test]
fn commands_work_beside_the_service_and_without_it() {
    let folder = Folder::used();
    let export = folder.0.join("export");
    let command = |arguments: &[&str]| {
        let mut command = folder.command();
        command.args(arguments);
        command
    };
    let export_to = export.to_string_lossy().into_owned();
    {
        let service = Service::start(&mut folder.command());
        service.create("exported");
        assert!(success(&mut command(&["export", &export_to])).contains("\"configurations\":1"));
        assert!(
            refusal(&mut command(&["reset"]))
                .starts_with("reset deletes every configuration and every assignment; say --yes")
        );
        assert!(service.holds("exported"));
        success(&mut command(&["reset", "--yes"]));
        assert!(!service.holds("exported"));
        assert!(success(&mut command(&["seed", &export_to])).contains("\"created\":1"));
        assert!(service.holds("exported"));
        assert!(service.stop(Signal::SIGTERM).success());
    }
    assert!(success(&mut command(&["seed", &export_to])).contains("\"unchanged\":1"));
    assert!(folder.postmaster().is_none(), "the server that a command started has stopped with it");
    let said = refusal(command(&["seed", "/no/such/folder"]).env("DEVICEGRAPH__LOG__FILTER", "warn"));
    assert!(said.starts_with("cannot read /no/such/folder"), "{said}");
    let file = many_values(&folder);
    let mut limited = command(&["seed", &file.to_string_lossy()]);
    limited.env("DEVICEGRAPH__LOG__FILTER", "warn").env("DEVICEGRAPH__SERVER__MAX_BODY_VALUES", "94");
    let said = refusal(&mut limited);
    assert!(
        said.contains("many.json: it holds 101 JSON values, and the limit for a file of this size is 100;"),
        "{said}"
    );
}

#[test]
fn a_seed_in_the_settings_fills_an_empty_database_once() {
    let folder = Folder::used();
    let file = folder.0.join("seed.json");
    std::fs::write(&file, r##"{"@odata.type":"#microsoft.graph.iosCustomConfiguration","displayName":"seeded"}"##)
        .expect("a file");
    let seeded = || {
        let mut command = folder.command();
        command.env("DEVICEGRAPH__DATABASE__SEED", &file);
        command
    };
    let service = Service::start(&mut seeded());
    service.until_ready();
    assert!(service.holds("seeded"), "ready means seeded");
    assert!(service.stop(Signal::SIGTERM).success());
    // The seed is not read again, so a file that is not valid any more has no effect.
    std::fs::write(&file, "{").expect("a file");
    let service = Service::start(&mut seeded());
    service.until_ready();
    assert!(service.stop(Signal::SIGTERM).success());
    success(folder.command().args(["reset", "--yes"]));
    let said = refusal(seeded().env("DEVICEGRAPH__LOG__FILTER", "error"));
    assert!(said.starts_with("database.seed: "), "{said}");
    assert!(said.contains("seed.json: EOF while parsing"), "{said}");
    let mut limited = seeded();
    limited.env("DEVICEGRAPH__LOG__FILTER", "error").env("DEVICEGRAPH__SERVER__MAX_BODY_VALUES", "94");
    let said = refusal(limited.env("DEVICEGRAPH__DATABASE__SEED", many_values(&folder)));
    assert!(
        said.contains("many.json: it holds 101 JSON values, and the limit for a file of this size is 100;"),
        "{said}"
    );
}

/// Repeats a health check until it succeeds. Each one waits at most two seconds for the answer.
fn until_success(health: &mut Command) {
    until_blocking("the health check succeeds", || health.output().expect("the binary runs").status.success());
}

#[test]
fn the_command_health_ignores_the_proxy_of_the_environment() {
    let folder = Folder::used();
    let service = Service::start(&mut folder.command());
    let port = service.address.rsplit(':').next().expect("a port").to_owned();
    let health = || {
        let mut command = devicegraph(&folder.0);
        command.arg("health").env("DEVICEGRAPH__SERVER__PORT", &port).env("DEVICEGRAPH__SERVER__HOST", "0.0.0.0");
        command
    };
    // Docker sets this variable in every container when a proxy is configured.
    until_success(health().env("HTTP_PROXY", "http://127.0.0.1:9"));
    assert!(service.stop(Signal::SIGTERM).success());
    let said = refusal(&mut health());
    assert!(said.starts_with(&format!("http://127.0.0.1:{port}/health/ready is not ready: ")), "{said}");
}

#[test]
fn help_and_completions_need_nothing_else() {
    let folder = Folder::new();
    let output = |argument: &[&str]| {
        let output =
            devicegraph(&folder.0).args(argument).env("DEVICEGRAPH__NO__SUCH", "1").output().expect("the binary runs");
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("text")
    };
    for command in ["serve", "migrate", "seed", "export", "reset", "health", "completions"] {
        assert!(output(&["--help"]).contains(command), "{command}");
        assert!(output(&["completions", "bash"]).contains(command), "{command}");
    }
}

/// What a command prints that reads no settings.
fn print(arguments: &[&str]) -> String {
    let output = devicegraph(&Folder::new().0).args(arguments).output().expect("the binary runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_help_of_each_command_fits_on_one_screen() {
    let help = print(&["--help"]);
    assert_eq!(print(&["-h"]), help);
    let (_, commands) = help.split_once("\nCommands:\n").expect("the commands");
    let commands: Vec<_> = commands.lines().map_while(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 9, "{commands:?}");
    for command in commands {
        let help = if command == "help" { help.clone() } else { print(&[command, "--help"]) };
        assert!(help.lines().count() <= 40, "{command} has {} lines:\n{help}", help.lines().count());
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{command} has a line that is too long:\n{help}");
    }
    let (_, examples) = help.split_once("\nExamples:\n").expect("examples at the end");
    let examples: Vec<_> = examples.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert_eq!(examples.len(), 2, "{help}");
    assert!(examples.iter().all(|example| example.contains("devicegraph")), "{examples:?}");
}

#[test]
fn the_version_names_the_release_and_the_commit() {
    let said = print(&["--version"]);
    let release = concat!("devicegraph ", env!("CARGO_PKG_VERSION"));
    let rest = said.trim_end().strip_prefix(release).unwrap_or_else(|| panic!("{said}"));
    // A build of other files than a checkout may know no commit.
    // Git keeps no log of HEAD in some checkouts.
    let log = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.git/logs/HEAD"));
    if rest.is_empty() && log.metadata().map_or(true, |log| log.len() == 0) {
        return;
    }
    let commit = rest.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')'));
    let commit = commit.unwrap_or_else(|| panic!("no commit in {said}"));
    assert!(commit.len() == 12 && commit.bytes().all(|digit| digit.is_ascii_hexdigit()), "{said}");
    // Another commit may have followed since the build. Without git, this cannot be checked.
    let git = Command::new("git")
        .args(["-c", "safe.directory=*", "log", "--format=%H", "--reflog"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::null())
        .output();
    let known = git.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    if !known.is_empty() {
        assert!(known.lines().any(|known| known.starts_with(commit)), "{commit} is no commit of this checkout");
    }
}

#[test]
fn the_sample_of_the_console_is_a_file_for_seed() {
    let folder = Folder::used();
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/sample.json");
    let run = |arguments: &[&str]| success(folder.command().args(arguments));
    assert!(run(&["seed", sample]).contains("\"created\":8,"));
    run(&["reset", "--yes"]);
    // The console sends the same configurations to /beta.
    let service = Service::start(&mut folder.command());
    let text = std::fs::read_to_string(sample).expect("the sample");
    let collection: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for configuration in collection["value"].as_array().expect("a collection") {
        let path = "/beta/deviceManagement/deviceConfigurations";
        let (status, text) = service.request("POST", path, &configuration.to_string());
        assert_eq!(status, 201, "{text}");
    }
    assert!(run(&["seed", sample]).contains("\"unchanged\":8"));
    assert!(service.stop(Signal::SIGTERM).success());
}

/// Statements that take the lock that a service holds while it fills an empty database.
const SEEDING: &str = "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('devicegraph seed', 0))";

#[actix_web::test]
async fn of_two_services_that_start_at_once_one_seeds() {
    if is_remote() {
        return;
    }
    let folder = Folder::new();
    let options = database(true).await;
    let one = |n| format!(r##"{{"@odata.type":"#microsoft.graph.iosCustomConfiguration","displayName":"n{n}"}}"##);
    let all = (0..20).map(one).collect::<Vec<_>>().join(",");
    std::fs::write(folder.0.join("seed.json"), format!("[{all}]")).expect("a file");
    let start = || Service::start(folder.command_on(&options).env("DEVICEGRAPH__DATABASE__SEED", "seed.json"));
    // Three sessions wait for the lock, in this order: the first service, a session of this test,
    // and the second service.
    let mut connection = options.connect().await.expect("a database");
    let mut between = options.connect().await.expect("a database");
    connection.execute(SEEDING).await.expect("the lock");
    let first = start();
    until_lock_waits(&options, 1).await;
    let between = actix_web::rt::spawn(async move { between.execute(SEEDING).await.map(|_| between) });
    until_lock_waits(&options, 2).await;
    let second = start();
    until_lock_waits(&options, 3).await;
    assert!(!first.is_ready() && !second.is_ready(), "ready means seeded");
    connection.execute("COMMIT").await.expect("the lock goes");
    first.until_ready();
    assert!(!second.is_ready(), "it still waits");
    // A change after the first service is ready is not undone by the second one.
    connection.execute("DELETE FROM device_configurations WHERE display_name = 'n19'").await.expect("a delete");
    let mut between = between.await.expect("a task").expect("the lock");
    between.execute("COMMIT").await.expect("the lock goes");
    second.until_ready();
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM device_configurations")
        .fetch_one(&mut connection)
        .await
        .expect("a count");
    assert_eq!(count, 19);
}

#[actix_web::test]
async fn a_command_on_a_database_without_tables_says_who_makes_them() {
    if is_remote() {
        return;
    }
    let folder = Folder::new();
    let options = database(false).await;
    for arguments in [["reset", "--yes"], ["export", "export"], ["seed", "."]] {
        let mut command = devicegraph(&folder.0);
        command
            .args(arguments)
            .env("DATABASE_URL", url(&options, "devicegraph"))
            .env("DEVICEGRAPH__LOG__FILTER", "warn")
            .env("DEVICEGRAPH__DATABASE__MIGRATE", "false");
        assert_eq!(
            refusal(&mut command),
            "the database lacks migrations; run `devicegraph migrate` as the owner of its tables"
        );
    }
}

#[actix_web::test]
async fn a_command_that_may_not_read_the_migrations_does_not_say_that_they_are_missing() {
    if is_remote() {
        return;
    }
    let folder = Folder::new();
    // Another role owns the tables.
    let url = url(&database(true).await, "asked:right");
    let said = refusal(devicegraph(&folder.0).arg("check").env("DATABASE_URL", url));
    let reason = "the database cannot be migrated: permission denied for table _sqlx_migrations; ";
    assert!(said.starts_with(reason), "{said}");
}

#[test]
fn the_service_accepts_a_token_that_the_command_token_made() {
    let folder = Folder::used();
    let print = |arguments: &[&str]| {
        let output = folder.command().arg("token").args(arguments).output().expect("the binary runs");
        let said = String::from_utf8(output.stderr).expect("text");
        assert!(output.status.success(), "{said}");
        (String::from_utf8(output.stdout).expect("text").trim_end().to_owned(), said)
    };
    let (token, said) = print(&[]);
    assert_eq!(token.split('.').count(), 3, "the token is all that is printed: {token}");
    // The settings that the command prints are those that the service needs.
    let setting = |name: &str| {
        let (_, rest) = said.split_once(&format!("{name} = \"")).unwrap_or_else(|| panic!("{name} in {said}"));
        rest.split('"').next().expect("a value").to_owned()
    };
    // The token names its key, so that a service that trusts several keys finds the right one.
    let id = jsonwebtoken::decode_header(&token).expect("a header").kid.expect("the id of the key");
    let keys = std::fs::read_to_string(setting("auth.jwks_file")).expect("the keys");
    assert!(keys.contains(&format!("\"{id}\"")), "{id} in {keys}");
    let key = folder.data_dir().join("token-key.pem");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&key).expect("the key").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let before = std::fs::read(&key).expect("the key");

    let mut command = folder.command();
    for name in ["mode", "issuer", "audience", "jwks_file"] {
        command.env(format!("DEVICEGRAPH__AUTH__{}", name.to_uppercase()), setting(&format!("auth.{name}")));
    }
    // The filter `trace` logs everything that the service can log.
    command.env("DEVICEGRAPH__AUTH__LEEWAY_SECONDS", "300");
    let service = Service::start(command.env("DEVICEGRAPH__LOG__FILTER", "trace"));
    let path = "/v1.0/deviceManagement/deviceConfigurations";
    let body = r##"{"@odata.type":"#microsoft.graph.iosCustomConfiguration","displayName":"a secret of ours"}"##;
    assert_eq!(service.request("GET", path, "").0, 401);
    assert_eq!(service.request_as(&token, "POST", path, body).0, 201);
    let (reader, _) = print(&["--kind", "delegated", "--scope", "DeviceManagementConfiguration.Read.All"]);
    assert_eq!(service.request_as(&reader, "GET", path, "").0, 200);
    assert_eq!(service.request_as(&reader, "POST", path, body).0, 403);
    let (elsewhere, _) = print(&["--audience", "https://elsewhere.example"]);
    assert_eq!(service.request_as(&elsewhere, "GET", path, "").0, 401);
    let (short, _) = print(&["--lifetime", "1"]);
    assert_eq!(service.request_as(&short, "GET", path, "").0, 200, "within the leeway");
    assert_eq!(std::fs::read(&key).expect("the key"), before, "every token has the same key");
    let log = service.log_until_stopped(Signal::SIGTERM);
    for token in [&token, &reader, &elsewhere, &short] {
        for part in [token.rsplit('.').next().expect("a signature"), token.split('.').nth(1).expect("claims")] {
            assert!(!log.contains(part), "a token is in the log");
        }
    }
    assert!(!log.contains("a secret of ours"), "a body is in the log");
    assert!(log.contains("TRACE"), "{log}");
}

#[test]
fn a_wrong_setting_of_an_issuer_is_named() {
    let folder = Folder::new();
    let no_keys = folder.0.join("no keys.json");
    std::fs::write(&no_keys, r#"{"keys": []}"#).expect("a file");
    let no_keys = no_keys.to_string_lossy();
    let (issuer, audience) = (("ISSUER", "https://a.example"), ("AUDIENCE", "b"));
    for (settings, message) in [
        (vec![], "auth.mode is jwt and auth.issuer is not set; set it to the 'iss' of your tokens"),
        (vec![audience], "auth.issuer is not set, although other settings of an issuer are; "),
        (vec![issuer], "auth.audience is not set for the issuer 'https://a.example'; "),
        (
            vec![issuer, audience, ("MODE", "disabled")],
            "auth.issuer is set and auth.mode is disabled, so its tokens would be ignored; set auth.mode to jwt",
        ),
        (vec![issuer, audience, ("JWKS_FILE", "no such file")], "auth.jwks_file: cannot read no such file"),
        (vec![issuer, audience, ("JWKS_FILE", &no_keys)], "no keys.json has no usable key"),
        (
            vec![issuer, audience, ("JWKS_FILE", "Cargo.toml"), ("JWKS_URL", "https://a.example")],
            "are both set for the issuer",
        ),
        (
            vec![issuer, audience, ("JWKS_URL", "a.example/keys")],
            "cannot be fetched from 'a.example/keys'; set auth.jwks_url to an https:// URL",
        ),
        (vec![("ISSUER", "a name"), audience], "cannot be fetched from 'a name'; set auth.jwks_url to an https:// URL"),
        (vec![issuer, audience, ("REFRESH_SECONDS", "0")], "auth.refresh_seconds is 0"),
        (vec![issuer, audience, ("UNKNOWN_KEY_SECONDS", "0")], "auth.unknown_key_seconds is 0"),
        (
            vec![issuer, audience, ("OPEN", "docs,health")],
            "auth.open: 'health' is not one of metadata, openapi, docs, metrics; write one or more of these, or only 'none'",
        ),
        (vec![issuer, audience, ("LEEWAY_SECONDS", "301")], "auth.leeway_seconds is 301"),
        (
            vec![issuer, audience, ("JWKS_URL", "https://user:s3cret@a.example/keys?code=s3cret")],
            "cannot be fetched from 'a.example/keys'; set auth.jwks_url to an https:// URL without a password in it",
        ),
    ] {
        let mut command = devicegraph(&folder.0);
        command.env("DEVICEGRAPH__AUTH__MODE", "jwt");
        for (name, value) in &settings {
            command.env(format!("DEVICEGRAPH__AUTH__{name}"), value);
        }
        let said = refusal(&mut command);
        assert!(said.contains(message), "{settings:?}: {said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
    for (name, value, message) in [
        ("TLS_CERTIFICATE", "x", "server.tls_certificate is set and server.tls_key is not; set both"),
        ("TLS_KEY", "x", "server.tls_key is set and server.tls_certificate is not; set both"),
        ("CORS_ORIGINS", "https://a.example,*", "server.cors_origins: '*' is not an origin;"),
        ("CORS_ORIGINS", "https://a.example/", "server.cors_origins: 'https://a.example/' is not an origin;"),
        ("CORS_ORIGINS", "https://A.example", "is not an origin;"),
        ("CORS_ORIGINS", "https://a.example:443", "is not an origin;"),
        ("MAX_CONNECTIONS", "1000000000", "server.max_connections is 1000000000, and this process may open only"),
    ] {
        let said = refusal(devicegraph(&folder.0).env(format!("DEVICEGRAPH__SERVER__{name}"), value));
        assert!(said.contains(message), "{name}={value}: {said}");
    }
}

#[test]
fn the_health_check_speaks_https_too() {
    let folder = Folder::used();
    let made = rcgen::generate_simple_self_signed(["elsewhere.example".to_owned()]).expect("a certificate");
    std::fs::write(folder.0.join("tls.crt"), made.cert.pem()).expect("a file");
    std::fs::write(folder.0.join("tls.key"), made.signing_key.serialize_pem()).expect("a file");
    let command = || {
        let mut command = folder.command();
        command.env("DEVICEGRAPH__SERVER__TLS_CERTIFICATE", "tls.crt").env("DEVICEGRAPH__SERVER__TLS_KEY", "tls.key");
        command
    };
    let service = Service::start(&mut command());
    let port = service.address.rsplit(':').next().expect("a port").to_owned();
    until_success(command().arg("health").env("DEVICEGRAPH__SERVER__PORT", port));
}

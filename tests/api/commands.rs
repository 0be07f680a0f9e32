//! The commands that are not the service.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use sqlx::{ConnectOptions, Executor};

use crate::{
    harness::{database, is_remote, url},
    service::{Folder, Service, devicegraph, refusal, success},
};

#[test]
fn commands_work_beside_the_service_and_without_it() {
    let folder = Folder::new();
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
}

#[test]
fn a_seed_in_the_settings_fills_an_empty_database_once() {
    let folder = Folder::new();
    let file = folder.0.join("seed.json");
    std::fs::write(&file, r##"{"@odata.type":"#microsoft.graph.iosCustomConfiguration","displayName":"seeded"}"##)
        .expect("a file");
    let seeded = || {
        let mut command = folder.command();
        command.env("DEVICEGRAPH__DATABASE__SEED", &file);
        command
    };
    let wait_until_ready = |service: &Service| {
        let started = Instant::now();
        while service.request("GET", "/health/ready", "").0 != 200 {
            assert!(started.elapsed() < Duration::from_secs(10), "it becomes ready");
        }
    };
    let service = Service::start(&mut seeded());
    wait_until_ready(&service);
    assert!(service.holds("seeded"), "ready means seeded");
    assert!(service.stop(Signal::SIGTERM).success());
    // It is not read again: a file that is wrong by now does not matter.
    std::fs::write(&file, "{").expect("a file");
    let service = Service::start(&mut seeded());
    wait_until_ready(&service);
    assert!(service.stop(Signal::SIGTERM).success());
    success(folder.command().args(["reset", "--yes"]));
    let said = refusal(seeded().env("DEVICEGRAPH__LOG__FILTER", "error"));
    assert!(said.starts_with("database.seed: "), "{said}");
    assert!(said.contains("seed.json: EOF while parsing"), "{said}");
}

#[test]
fn the_binary_asks_for_its_own_health() {
    let folder = Folder::new();
    let service = Service::start(&mut folder.command());
    let port = service.address.rsplit(':').next().expect("a port").to_owned();
    let health = || {
        let mut command = devicegraph(&folder.0);
        command.arg("health").env("DEVICEGRAPH__SERVER__PORT", &port).env("DEVICEGRAPH__SERVER__HOST", "0.0.0.0");
        command
    };
    // What Docker puts into every container where one is configured.
    success(health().env("HTTP_PROXY", "http://127.0.0.1:9"));
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
    assert!(output(&["--version"]).starts_with("devicegraph "));
}

/// A seed large enough that the second service comes while the first writes.
#[actix_web::test]
async fn of_two_services_that_start_at_once_one_seeds() {
    if is_remote() {
        return;
    }
    let folder = Folder::new();
    let options = database(true).await;
    let one = |n| format!(r##"{{"@odata.type":"#microsoft.graph.iosCustomConfiguration","displayName":"n{n}"}}"##);
    let all = (0..2000).map(one).collect::<Vec<_>>().join(",");
    std::fs::write(folder.0.join("seed.json"), format!("[{all}]")).expect("a file");
    let start = || {
        let mut command = devicegraph(&folder.0);
        Service::start(
            command.env("DATABASE_URL", url(&options, "devicegraph")).env("DEVICEGRAPH__DATABASE__SEED", "seed.json"),
        )
    };
    let services = [start(), start()];
    let mut connection = options.connect().await.expect("a database");
    for (n, service) in services.iter().enumerate() {
        let started = Instant::now();
        while service.request("GET", "/health/ready", "").0 != 200 {
            assert!(started.elapsed() < Duration::from_secs(30), "it becomes ready");
            thread::sleep(Duration::from_millis(20));
        }
        if n == 0 {
            // What is changed once one is ready is not put back by the other.
            connection
                .execute("DELETE FROM device_configurations WHERE display_name = 'n1999'")
                .await
                .expect("a delete");
        }
    }
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM device_configurations")
        .fetch_one(&mut connection)
        .await
        .expect("a count");
    assert_eq!(count, 1999);
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
            .env("DEVICEGRAPH__DATABASE__MIGRATE", "false");
        assert_eq!(
            refusal(&mut command),
            "the database lacks migrations; run `devicegraph migrate` as the owner of its tables"
        );
    }
}

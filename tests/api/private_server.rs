//! The private PostgreSQL server: its data, its end, and its start after a crash.

use std::{
    fs::Permissions,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User},
};

use crate::{
    harness::until_blocking,
    secrets::KEY,
    service::{Folder, Service, devicegraph, refusal},
};

#[test]
fn the_private_server_keeps_its_data_over_a_restart_and_stops_with_the_service() {
    let folder = Folder::new();
    for (signal, before, now) in [(Signal::SIGTERM, None, "first"), (Signal::SIGINT, Some("first"), "second")] {
        let service = Service::start(&mut folder.command());
        assert!(before.is_none_or(|name| service.holds(name)));
        service.create(now);
        let postmaster = folder.postmaster().expect("a server");
        assert_eq!(service.stop(signal).code(), Some(0));
        assert!(kill(postmaster, None).is_err(), "the server has stopped");
    }
    // Users pass the text of this file to psql.
    let url = std::fs::read_to_string(folder.data_dir().join("url")).expect("the URL");
    assert!(url.starts_with("postgresql:///devicegraph?host=/tmp/devicegraph-"), "{url}");
}

#[test]
fn a_folder_has_one_service() {
    let folder = Folder::used();
    let service = Service::start(&mut folder.command());
    let said = refusal(&mut folder.command());
    let expected = format!(
        "another devicegraph (process {}) uses {}; stop it, or give this one",
        service.child.id(),
        folder.data_dir().display()
    );
    assert!(said.starts_with(&expected), "{said}");
    service.until_ready();
}

#[test]
fn a_killed_service_finds_its_server_and_its_data_again() {
    let folder = Folder::used();
    let mut service = Service::start(&mut folder.command());
    service.create("kept");
    let postmaster = folder.postmaster();
    service.child.kill().expect("it runs");
    service.child.wait().expect("it ends");

    let service = Service::start(&mut folder.command());
    assert!(service.holds("kept"));
    assert_eq!(folder.postmaster(), postmaster, "the next service uses the same server");
    assert!(service.stop(Signal::SIGTERM).success());
    assert!(kill(postmaster.expect("a server"), None).is_err(), "the server stops with the next service");
}

#[test]
fn a_killed_server_is_started_again_and_keeps_its_data() {
    let folder = Folder::used();
    let mut service = Service::start(&mut folder.command());
    service.create("kept");
    let killed = folder.postmaster();
    kill(killed.expect("a server"), Signal::SIGKILL).expect("it runs");
    // Processes of the killed server may answer for a moment. They have ended when the next server
    // is ready.
    until_blocking("another server is ready", || folder.postmaster() != killed && folder.is_postmaster_ready());
    service.until_ready();
    assert!(service.holds("kept"));

    // Kill the service and its server, as the kernel does when the machine runs out of memory.
    service.child.kill().expect("it runs");
    kill(folder.postmaster().expect("a server"), Signal::SIGKILL).expect("it runs");
    service.child.wait().expect("it ends");
    let service = Service::start(&mut folder.command());
    assert!(service.holds("kept"));
    assert!(service.stop(Signal::SIGTERM).success());
}

#[test]
fn a_stale_process_number_does_not_keep_the_server_down() {
    let folder = Folder::used();
    assert!(Service::start(&mut folder.command()).stop(Signal::SIGTERM).success());
    let data = folder.data_dir().join("data");
    let owner = std::fs::metadata(&data).expect("the data").uid();
    // After a restart of the machine, another process may have the recorded process id. It may run
    // as the account of the server or as another account.
    for account in [owner, nix::unistd::geteuid().as_raw()] {
        // This process ends when its standard input is closed.
        let mut other = Command::new("cat").stdin(Stdio::piped()).uid(account).spawn().expect("a process");
        for lines in [1, 8] {
            let stale =
                [&*other.id().to_string(), &data.to_string_lossy(), "1", "5432", "/tmp/nowhere", "", "1 1", "ready"];
            let path = data.join("postmaster.pid");
            std::fs::write(&path, stale[..lines].join("\n") + "\n").expect("a file");
            std::os::unix::fs::chown(&path, Some(owner), None).expect("its owner");
            let service = Service::start(&mut folder.command());
            service.until_ready();
            assert!(service.stop(Signal::SIGTERM).success());
            assert!(other.try_wait().expect("a process").is_none(), "the service must not end this process");
        }
        other.kill().expect("it runs");
        other.wait().expect("it ends");
    }
}

#[test]
fn an_orphan_without_its_socket_is_stopped_and_started_again() {
    let folder = Folder::used();
    let mut service = Service::start(&mut folder.command());
    service.create("kept");
    let orphan = folder.postmaster().expect("a server");
    service.child.kill().expect("it runs");
    service.child.wait().expect("it ends");
    std::fs::remove_dir_all(folder.socket_dir().expect("a socket")).expect("what cleans /tmp does");
    let service = Service::start(&mut folder.command());
    assert!(service.holds("kept"));
    assert_ne!(folder.postmaster(), Some(orphan));
    assert!(service.stop(Signal::SIGTERM).success());
}

#[test]
fn data_that_is_gone_is_not_replaced_by_an_empty_cluster() {
    let folder = Folder::used();
    let service = Service::start(&mut folder.command());
    let (data, saved) = (folder.data_dir().join("data"), folder.data_dir().join("saved"));
    service.create("kept");
    std::fs::rename(&data, &saved).expect("a move");
    let postmaster = std::fs::read_to_string(saved.join("postmaster.pid")).expect("a server");
    let postmaster = postmaster.lines().next().and_then(|pid| pid.parse().ok()).map(Pid::from_raw).expect("a number");
    kill(postmaster, Signal::SIGKILL).expect("it runs");
    (0..2).for_each(|_| drop(service.wait_for("cannot run postgres in ")));
    assert!(!data.exists());
    // Stop the service, because it would retry for ever.
    assert!(service.stop(Signal::SIGTERM).success());
    let said = refusal(folder.command().env("DEVICEGRAPH__LOG__FILTER", "error"));
    assert!(said.contains("/postgres/data is missing; restore it, or remove "), "{said}");
    std::fs::rename(&saved, &data).expect("a move");
    assert!(Service::start(&mut folder.command()).holds("kept"));
}

#[test]
fn a_killed_first_start_is_begun_again() {
    let folder = Folder::new();
    // Each file shows that a step of the first start has begun.
    for file in ["lock", "data.new.{pid}", "data.new.{pid}/global", "data", "data/postmaster.pid"] {
        let mut started = folder.command().spawn().expect("the binary runs");
        let path = folder.data_dir().join(file.replace("{pid}", &started.id().to_string()));
        // The last file comes after all others. A test that is too slow to see a step kills the
        // service in a later one.
        let is_over = || folder.data_dir().join("data/postmaster.pid").exists();
        until_blocking(file, || path.exists() || is_over());
        started.kill().expect("it runs");
        started.wait().expect("it ends");
    }
    Service::start(&mut folder.command()).create("first");
}

#[test]
fn root_is_told_when_the_account_of_the_server_cannot_reach_the_folder() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let closed = tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir().expect("a folder");
    let folder = Folder::used();
    std::fs::set_permissions(&folder.0, Permissions::from_mode(0o700)).expect("a folder");
    let is_account = |name: &&str| User::from_name(name).is_ok_and(|user| user.is_some());
    let account = ["postgres", "nobody"].into_iter().find(is_account).expect("an account");
    // At the first start initdb fails, and at a later start the server fails.
    for data_dir in [closed.path().join("postgres"), folder.data_dir()] {
        let mut command = devicegraph(&folder.0);
        let command = command.env("DEVICEGRAPH__LOG__FILTER", "warn");
        let said = refusal(command.env("DEVICEGRAPH__DATABASE__DATA_DIR", &data_dir));
        let expected = format!(
            "PostgreSQL refuses to run as root, and the account {account} cannot reach {}; set database.data_dir to a folder whose parents others may enter (chmod o+x), or name a database in DATABASE_URL",
            data_dir.canonicalize().expect("a folder").display()
        );
        assert_eq!(said, expected);
    }
}

#[test]
fn the_private_server_gets_no_secret_of_the_environment() {
    let folder = Folder::new();
    let mut command = folder.command();
    command.env("DEVICEGRAPH__SECRETS__KEY", KEY).env("AWS_SECRET_ACCESS_KEY", "hunter2").env("PGPASSWORD", "hunter2");
    let service = Service::start(command.env("TZ", "UTC"));
    let postmaster = folder.postmaster().expect("a server");
    let environment = std::fs::read(format!("/proc/{postmaster}/environ")).expect("the environment of the server");
    let environment = String::from_utf8_lossy(&environment).into_owned();
    let names: Vec<_> = environment.split('\0').filter_map(|line| Some(line.split_once('=')?.0)).collect();
    let is_harmless = |name: &&str| {
        ["PATH", "LANG", "TZ", "LD_LIBRARY_PATH"].contains(name) || name.starts_with("LC_") || name.starts_with("PG_")
    };
    assert!(names.iter().all(is_harmless), "{names:?}");
    assert!(names.contains(&"PATH") && names.contains(&"TZ"), "{names:?}");
    assert!(!environment.contains("hunter2") && !environment.contains(KEY), "{environment}");
    drop(service);
}

#[test]
fn the_search_for_postgresql_gives_no_program_a_secret() {
    let folder = Folder::new();
    // No release is this old, so the service asks every program that it finds.
    std::fs::create_dir_all(folder.data_dir().join("data")).expect("a folder");
    std::fs::write(folder.data_dir().join("data/PG_VERSION"), "9\n").expect("a file");
    let (bin, script) = (folder.0.join("bin"), folder.0.join("script"));
    std::fs::create_dir(&bin).expect("a folder");
    std::fs::write(&script, format!("#!/bin/sh\n/usr/bin/env >\"{}/${{0##*/}}.env\"\n", folder.0.display()))
        .expect("a file");
    for program in ["initdb", "pg_config", "postgres"] {
        // Let another program write the file. A file that this process has open for writing cannot
        // be run while another test starts a process.
        let installed =
            Command::new("install").args(["-m", "755"]).arg(&script).arg(bin.join(program)).status().expect("install");
        assert!(installed.success());
    }
    let mut command = folder.command();
    command.env("PATH", &bin).env("DEVICEGRAPH__SECRETS__KEY", KEY).env("PGPASSWORD", "hunter2");
    let said = refusal(&mut command);
    assert!(said.contains("PostgreSQL 9, which is not installed on this machine"), "{said}");
    for program in ["pg_config", "postgres"] {
        let path = folder.0.join(format!("{program}.env"));
        let environment = std::fs::read_to_string(path).expect("what the program got");
        // The log of a failed test shows only the names.
        let names: Vec<_> = environment.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        assert!(environment.contains(&*bin.to_string_lossy()), "{program}: {names:?}");
        assert!(!environment.contains(KEY) && !environment.contains("hunter2"), "{program}: {names:?}");
    }
}

/// Creates the folder of the socket under its usual name as another user. Returns its path.
fn take_socket_dir(folder: &Folder) -> PathBuf {
    let found = std::fs::metadata(folder.data_dir()).expect("a folder");
    let usual = PathBuf::from(format!("/tmp/devicegraph-{:x}-{:x}", found.dev(), found.ino()));
    make_of_another_user(&usual);
    usual
}

fn make_of_another_user(path: &Path) {
    std::fs::create_dir(path).expect("a folder");
    std::os::unix::fs::chown(path, Some(1), Some(1)).expect("another owner");
}

#[test]
fn a_killed_server_comes_back_where_the_pools_look_for_it_when_another_user_has_the_usual_folder() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let folder = Folder::used();
    let usual = take_socket_dir(&folder);
    let mut service = Service::start(&mut folder.command());
    service.create("kept");
    let socket_dir = folder.socket_dir().expect("a socket");
    assert_ne!(socket_dir, usual);
    let come_back = |service: &Service, killed| {
        until_blocking("another server is ready", || folder.postmaster() != killed && folder.is_postmaster_ready());
        service.until_ready();
        assert!(service.holds("kept"));
        assert_eq!(folder.socket_dir().as_ref(), Some(&socket_dir));
    };
    // First with the folder as it is, then without it, then while another user has it.
    for (is_removed, is_taken) in [(false, false), (true, false), (true, true)] {
        if is_removed {
            std::fs::remove_dir_all(&socket_dir).expect("what cleans /tmp does");
        }
        if is_taken {
            make_of_another_user(&socket_dir);
        }
        let killed = folder.postmaster();
        kill(killed.expect("a server"), Signal::SIGKILL).expect("it runs");
        if is_taken {
            service.wait_for(&format!("another user can enter {}, ", socket_dir.display()));
            std::fs::remove_dir(&socket_dir).expect("a folder");
        }
        come_back(&service, killed);
    }

    // Kill the service and its server, so that the folder is not removed. The next start uses it.
    service.child.kill().expect("it runs");
    let killed = folder.postmaster();
    kill(killed.expect("a server"), Signal::SIGKILL).expect("it runs");
    service.child.wait().expect("it ends");
    let service = Service::start(&mut folder.command());
    come_back(&service, killed);
    assert!(service.stop(Signal::SIGTERM).success());
    std::fs::remove_dir(&usual).expect("a folder");
    let name = usual.file_name().expect("a name").to_string_lossy().into_owned();
    let entries = std::fs::read_dir("/tmp").expect("a folder").flatten().map(|entry| entry.file_name());
    let left: Vec<_> = entries.filter(|entry| entry.to_string_lossy().starts_with(&name)).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Another user can create the folder first, because its name can be predicted.
#[test]
fn another_user_cannot_keep_the_socket_from_the_private_server() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let folder = Folder::new();
    std::fs::create_dir(folder.data_dir()).expect("a folder");
    let found = std::fs::metadata(folder.data_dir()).expect("a folder");
    let squatted = format!("/tmp/devicegraph-{:x}-{:x}", found.dev(), found.ino());
    for is_link in [false, true] {
        match is_link {
            false => std::fs::create_dir(&squatted).expect("a folder"),
            true => std::os::unix::fs::symlink("/tmp", &squatted).expect("a link"),
        }
        std::os::unix::fs::lchown(&squatted, Some(65534), Some(65534)).expect("another owner");
        let service = Service::start(&mut folder.command());
        service.create("a");
        let socket = folder.socket_dir().expect("a socket");
        assert_ne!(socket.to_string_lossy(), squatted);
        assert!(service.stop(Signal::SIGTERM).success());
        assert!(!socket.exists(), "it is removed at the end");
        match is_link {
            false => std::fs::remove_dir(&squatted).expect("a folder"),
            true => std::fs::remove_file(&squatted).expect("a link"),
        }
    }
}

//! The memory that request bodies and files need, as an allocator counts it. Memory belongs to
//! the whole process, so that this binary runs only one test that measures it.

#![expect(clippy::print_stdout, reason = "cargo test -- --nocapture shows the figures")]

mod files;
#[path = "../api/harness.rs"]
#[expect(dead_code, reason = "the other test binary uses the rest")]
mod harness;
#[path = "../api/tokens.rs"]
#[expect(dead_code, reason = "the other test binary uses the rest")]
mod tokens;

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use harness::{App, CONFIGURATIONS, LIMIT, beta, database};
use peak_alloc::PeakAlloc;
use reqwest::Method;
use serde_json::json;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The size of the largest body with the default settings.
const BODY: usize = 1 << 20;
/// The maximum number of values in a body with the default settings.
const VALUES: usize = BODY / 16;
/// The maximum of memory that one request may add at its peak.
const ONE: usize = 32 << 20;
/// The maximum of memory that 24 requests may add together.
const ALL: usize = 256 << 20;

/// Returns arrays of at most this number of values, each with a description. Their elements need
/// much more memory than their text.
fn arrays(values: usize) -> Vec<(&'static str, String)> {
    let repeated = |element: &str, weight: usize| {
        let count = (values - 32) / weight;
        let count = count.min((BODY - 400) / (element.len() + 1));
        format!("[{}]", vec![element; count].join(","))
    };
    let nested = format!("{}1{}", r#"{"a":"#.repeat(80), "}".repeat(80));
    let lists = format!("{}1{}", "[".repeat(80), "]".repeat(80));
    vec![
        ("objects with one member", repeated(r#"{"a":1}"#, 3)),
        ("empty objects", repeated("{}", 1)),
        ("empty arrays", repeated("[]", 1)),
        ("arrays of one", repeated("[1]", 2)),
        ("numbers", repeated("1", 1)),
        ("texts", repeated(r#""a""#, 1)),
        ("nested objects", repeated(&nested, 161)),
        ("nested arrays", repeated(&lists, 81)),
        ("objects with two members", repeated(r#"{"a":1,"b":"x"}"#, 4)),
    ]
}

/// Returns the members of an object with many different names, without the braces. The names fill
/// the body.
fn members(values: usize) -> String {
    let count = (values - 32).min((BODY - 400) / 16);
    (0..count).map(|n| format!(r#""name{n:06x}":1"#)).collect::<Vec<_>>().join(",")
}

struct Client {
    address: String,
    authorization: String,
}

impl Client {
    /// Sends a request and reads its answer to the end. Returns the status. The answer is not
    /// kept, so that it does not count.
    fn send(&self, method: &Method, path: &str, body: &str) -> u16 {
        let mut stream = TcpStream::connect(&self.address).expect("the service listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.authorization,
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("the head is sent");
        // The service may answer before it has the whole body.
        let _ = stream.write_all(body.as_bytes());
        let (mut answer, mut status, mut part) = (0, [0; 12], [0; 8192]);
        while let Ok(length @ 1..) = stream.read(&mut part) {
            if answer == 0 {
                status.copy_from_slice(&part[..12]);
            }
            answer += length;
        }
        std::str::from_utf8(&status[9..]).expect("a status").parse().expect("a status")
    }
}

/// Returns the memory that `work` adds at its peak, and what it returned.
fn peak<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let done = work();
    (MEMORY.peak_usage().saturating_sub(before), done)
}

/// Returns the requests that can contain an array: the method, the path and the body.
fn requests(configuration: &str, array: &str) -> Vec<(Method, String, String)> {
    let collection = beta(CONFIGURATIONS);
    let create = |member: &str| {
        format!(r##"{{"@odata.type":"#microsoft.graph.iosUpdateConfiguration","displayName":"a","{member}":{array}}}"##)
    };
    let batch = format!(
        r#"{{"requests":[{{"id":"1","method":"POST","url":"/deviceManagement/deviceConfigurations","headers":{{"content-type":"application/json"}},"body":{}}}]}}"#,
        create("unknown")
    );
    vec![
        (Method::POST, collection.clone(), create("unknown")),
        (Method::POST, CONFIGURATIONS.to_owned(), create("unknown")),
        (Method::POST, collection.clone(), create("assignments")),
        (Method::POST, collection, create("roleScopeTagIds")),
        (Method::PATCH, configuration.to_owned(), format!(r#"{{"other":{array}}}"#)),
        (Method::PATCH, configuration.to_owned(), format!(r#"{{"other":{array},"description":"changed"}}"#)),
        (Method::POST, format!("{configuration}/assign"), format!(r#"{{"assignments":{array}}}"#)),
        (Method::POST, "/beta/$batch".to_owned(), batch),
    ]
}

#[test]
fn bodies_and_files_need_little_memory() {
    if harness::is_remote() {
        return;
    }
    let (sender, started) = std::sync::mpsc::channel();
    thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let app = App::start_on(database(true).await, |_| ()).await;
            let one = beta(&app.configuration().await);
            sender.send((app.origin.clone(), one)).expect("the test waits");
            std::future::pending::<()>().await;
        });
    });
    let (origin, configuration) = started.recv().expect("the service starts");
    let issuer = tokens::issuer().expect("an issuer");
    let client = Client {
        address: origin.trim_start_matches("http://").to_owned(),
        authorization: issuer.bearer(&issuer.claims()),
    };
    // The first requests fill caches and pools.
    for (method, path, body) in requests(&configuration, "[1]") {
        client.send(&method, &path, &body);
    }
    large_documents(&client);
    one_body_alone(&client, &configuration);
    many_bodies_together(&client, &configuration);
    files::one_file_alone();
}

/// The maximum of memory that one description of the service may need while the service generates
/// it.
const DOCUMENT: usize = 8 << 20;
/// The maximum of memory that all descriptions together may keep.
const KEPT: usize = 1 << 20;

fn large_documents(client: &Client) {
    let before = MEMORY.current_usage();
    let csdl = ["/v1.0/$metadata", "/beta/$metadata", "/v1.0/$metadata?$format=json", "/beta/$metadata?$format=json"];
    for path in csdl.into_iter().chain(["/openapi.json", "/docs/v1.0.json", "/docs/beta.json"]) {
        for number in 1..=2 {
            let (added, status) = peak(|| client.send(&Method::GET, path, ""));
            println!("{:>6} KiB {status} GET {path}, time {number}", added >> 10);
            assert_eq!(status, 200, "{path}");
            assert!(added < DOCUMENT, "{} KiB for {path}", added >> 10);
        }
    }
    let kept = MEMORY.current_usage().saturating_sub(before);
    println!("{:>6} KiB kept", kept >> 10);
    assert!(kept < KEPT, "{} KiB are kept", kept >> 10);
}

fn one_body_alone(client: &Client, configuration: &str) {
    for values in [VALUES, 8 * VALUES] {
        let is_allowed = values == VALUES;
        let mut bodies: Vec<_> = arrays(values)
            .into_iter()
            .flat_map(|(name, array)| requests(configuration, &array).into_iter().map(move |request| (name, request)))
            .collect();
        let flat = format!(
            r##"{{"@odata.type":"#microsoft.graph.iosUpdateConfiguration","displayName":"a",{}}}"##,
            members(values)
        );
        // A member needs too many bytes for more than the allowed number of values.
        if is_allowed {
            bodies.push(("many members", (Method::POST, beta(CONFIGURATIONS), flat)));
        }
        for (name, (method, path, body)) in &bodies {
            let (added, status) = peak(|| client.send(method, path, body));
            println!("{:>6} KiB {status} {method} {path} {name}, {} bytes", added >> 10, body.len());
            assert!(added < ONE, "{} KiB for {method} {path} of {name}, {} bytes", added >> 10, body.len());
            let expected = if is_allowed { &[200, 201, 204, 400][..] } else { &[413] };
            let is_small = body.len() < BODY / 2 && !is_allowed;
            assert!(is_small || expected.contains(&status), "{status} for {method} {path} of {name}");
        }
    }
}

fn many_bodies_together(client: &Client, configuration: &str) {
    for (name, array) in arrays(VALUES) {
        let requests = requests(configuration, &array);
        let (added, (live, served)) = peak(|| {
            thread::scope(|scope| {
                let sent: Vec<_> = (0..24)
                    .map(|number| {
                        let (method, path, body) = &requests[number % requests.len()];
                        scope.spawn(move || client.send(method, path, body))
                    })
                    .collect();
                let asked = Instant::now();
                assert_eq!(client.send(&Method::GET, "/health/live", ""), 200);
                let live = asked.elapsed();
                let statuses = sent.into_iter().map(|sent| sent.join().expect("a status"));
                (live, statuses.filter(|status| *status != 503).count())
            })
        });
        println!(
            "{:>6} KiB for 24 requests of {name}, {served} served; /health/live after {} ms",
            added >> 10,
            live.as_millis()
        );
        assert!(served > 0, "none of 24 requests of {name} was served");
        assert!(added < ALL, "{} KiB for 24 requests of {name}", added >> 10);
        assert!(live < Duration::from_secs(30), "/health/live took {live:?}");
    }
    let left = json!({"@odata.type": "#microsoft.graph.iosUpdateConfiguration", "displayName": "a"}).to_string();
    assert_eq!(client.send(&Method::POST, CONFIGURATIONS, &left), 201, "the memory was returned");
}

//! What requests cost the database: a table of numbers that do not depend on the speed of
//! the machine.
//!
//! A proxy counts the messages with which PostgreSQL ends each statement and each round
//! trip. PostgreSQL counts the commits: every transaction that writes or locks a row gets
//! an id, and the commit gives the id a time.
//!
//! A request that takes a connection from the pool has one statement more, which names the
//! session after the request, and one round trip more, in which the connection goes back.

use std::{ops::Range, time::Duration};

use actix_http::Request;
use actix_web::{
    App, Error,
    dev::{Service, ServiceResponse},
    middleware::from_fn,
    test::init_service,
    web::Data,
};
use devicegraph::{
    auth::Authenticator,
    catalogue::version::Version,
    database::{pool::Pools, session::SharedConnection},
    odata::{body, body_memory::BodyMemory, negotiate, url},
    resources::{
        assignments::{self, create::Writer, loaders::SetLoader},
        configurations,
    },
    server::{authentication, metrics::Metrics, paths, routing, telemetry},
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use uuid::Uuid;

use crate::{
    harness::{CONFIGURATIONS, group, is_remote},
    meter::{Meter, Sent, patient_settings, server},
    service::Folder,
};

/// After an intended change, replace this table with the one that the failed test prints.
const TABLE: &str = "\
one request                                           statements  round trips  commits
POST assignment                                                1            1        1
POST assignment, with an id                                    1            1        1
POST assignment, sent again                                    5            6        2
POST assignment, target taken                                  6            7        2
POST assignment, If-Match                                      7            7        1
POST assign, 3 targets for 3 others                            9            9        1
POST $batch, an atomicity group of 2 assignments               5            5        1
GET assignment                                                 1            1        0
GET assignment, If-None-Match                                  3            4        0
GET assignment that does not exist                             4            5        0
GET assignments, all 3                                         1            1        0
GET assignments, none                                          1            1        0
GET assignments, a page of 2 of 3                              3            4        0
GET assignments, $orderby                                      2            3        0
GET assignments, $orderby, none                                4            5        0
GET assignments/$count                                         2            3        0
PATCH assignment                                               9            9        1
PATCH assignment, If-Match                                    10           10        1
PATCH assignment that changes nothing                          6            6        1
DELETE assignment                                              2            3        1
DELETE assignment, If-Match                                    7            7        1
POST configuration                                             2            3        1
GET configuration                                              1            1        0
GET configuration, $expand=assignments                         2            3        0
GET configurations, a page of 100                              2            3        0
PATCH configuration                                            5            5        1
DELETE configuration                                           2            3        1
POST device status                                             2            3        1
1,000 requests that come together                     statements  round trips  commits
POST assignment, of one configuration                          1            1        1
POST assignment, of 100 configurations                         1            1        1
GET assignment                                                 4            4        0
GET assignments, of 100 configurations                        63           63        0
GET configuration                                             16           16        0
";

/// The number of repetitions in most rows.
const FEW: usize = 20;

#[actix_web::test]
async fn what_requests_cost_the_database() {
    if is_remote() {
        return;
    }
    // When the test fails, the folder stops the server.
    let folder = Folder::new();
    let server = server(&folder).await;
    let mut meter = Meter::new(&server.options()).await;
    meter.part("one request");
    creates(&mut meter).await;
    reads(&mut meter).await;
    changes(&mut meter).await;
    of_configurations(&mut meter).await;
    meter.part("1,000 requests that come together");
    together(&mut meter).await;
    let measured = meter.table;
    server.stop().await;
    let changed: Vec<_> = measured.lines().filter(|line| !TABLE.lines().any(|known| known == *line)).collect();
    assert!(measured == TABLE, "these rows are not in TABLE:\n{}\n\nThe whole table:\n{measured}", changed.join("\n"));
}

/// Returns an assignment to a directory group that has none yet.
fn new() -> Value {
    group(&Uuid::new_v4().to_string())
}

fn with_id(mut body: Value) -> Value {
    body["id"] = json!(Uuid::new_v4());
    body
}

/// Returns a change to a name that no configuration has yet.
fn renamed() -> Value {
    json!({"displayName": Uuid::new_v4()})
}

async fn creates(meter: &mut Meter) {
    meter
        .alone("POST assignment", 100, async |meter, all| {
            let path = format!("{}/assignments", meter.configuration(0).await.0);
            all.map(|_| Sent::post(&path, new())).collect()
        })
        .await;
    meter
        .alone("POST assignment, with an id", FEW, async |meter, all| {
            let path = format!("{}/assignments", meter.configuration(0).await.0);
            all.map(|_| Sent::post(&path, with_id(new()))).collect()
        })
        .await;
    meter
        .alone("POST assignment, sent again", FEW, async |meter, all| {
            let path = format!("{}/assignments", meter.configuration(0).await.0);
            let body = with_id(new());
            all.map(|_| Sent::post(&path, body.clone())).collect()
        })
        .await;
    meter
        .alone("POST assignment, target taken", FEW, async |meter, all| {
            let path = format!("{}/assignments", meter.configuration(1).await.0);
            all.map(|_| Sent::post(&path, group("1")).is(StatusCode::CONFLICT)).collect()
        })
        .await;
    meter
        .alone("POST assignment, If-Match", FEW, async |meter, all| {
            let path = format!("{}/assignments", meter.configuration(1).await.0);
            all.map(|_| Sent::post(&path, new()).with("if-match", "*")).collect()
        })
        .await;
    meter
        .alone("POST assign, 3 targets for 3 others", FEW, async |meter, all| {
            let path = format!("{}/assign", meter.configuration(3).await.0);
            let set = || json!({"assignments": [new(), new(), new()]});
            all.map(|_| Sent::post(&path, set()).is(StatusCode::OK)).collect()
        })
        .await;
    meter
        .alone("POST $batch, an atomicity group of 2 assignments", FEW, async |meter, all| {
            let url = format!("{}/assignments", meter.configuration(0).await.0);
            let step = |id| json!({"id": id, "atomicityGroup": "g", "method": "POST", "url": url.trim_start_matches("/v1.0"), "body": new(), "headers": {"content-type": "application/json"}});
            let batch = || json!({"requests": [step("1"), step("2")]});
            all.map(|_| Sent::post("/v1.0/$batch", batch()).is(StatusCode::OK)).collect()
        })
        .await;
}

async fn reads(meter: &mut Meter) {
    meter
        .alone("GET assignment", FEW, async |meter, all| {
            let (_, paths) = meter.configuration(all.len()).await;
            paths.into_iter().map(Sent::get).collect()
        })
        .await;
    meter
        .alone("GET assignment, If-None-Match", FEW, async |meter, all| {
            let (_, paths) = meter.configuration(all.len()).await;
            paths.into_iter().map(|path| Sent::get(path).with("if-none-match", "\"other\"")).collect()
        })
        .await;
    meter
        .alone("GET assignment that does not exist", FEW, async |meter, all| {
            let (configuration, _) = meter.configuration(0).await;
            let path = || format!("{configuration}/assignments/{}", Uuid::new_v4());
            all.map(|_| Sent::get(path()).is(StatusCode::NOT_FOUND)).collect()
        })
        .await;
    for (what, rows, options) in [
        ("GET assignments, all 3", 3, ""),
        ("GET assignments, none", 0, ""),
        ("GET assignments, a page of 2 of 3", 3, "?$top=2"),
        ("GET assignments, $orderby", 3, "?$orderby=id desc"),
        ("GET assignments, $orderby, none", 0, "?$orderby=id desc"),
        ("GET assignments/$count", 3, "/$count"),
    ] {
        let requests = async |meter: &mut Meter, all: Range<usize>| {
            let (configuration, _) = meter.configuration(rows).await;
            all.map(|_| Sent::get(format!("{configuration}/assignments{options}"))).collect()
        };
        meter.alone(what, FEW, requests).await;
    }
}

async fn changes(meter: &mut Meter) {
    meter
        .alone("PATCH assignment", FEW, async |meter, all| {
            let (_, paths) = meter.configuration(all.len()).await;
            paths.into_iter().map(|path| Sent::patch(path, new())).collect()
        })
        .await;
    meter
        .alone("PATCH assignment, If-Match", FEW, async |meter, all| {
            let (_, paths) = meter.configuration(all.len()).await;
            paths.into_iter().map(|path| Sent::patch(path, new()).with("if-match", "*")).collect()
        })
        .await;
    meter
        .alone("PATCH assignment that changes nothing", FEW, async |meter, all| {
            let (_, paths) = meter.configuration(1).await;
            all.map(|_| Sent::patch(&paths[0], group("1"))).collect()
        })
        .await;
    meter
        .alone("DELETE assignment", FEW, async |meter, all| {
            let (_, paths) = meter.configuration(all.len()).await;
            paths.into_iter().map(Sent::delete).collect()
        })
        .await;
    meter
        .alone("DELETE assignment, If-Match", FEW, async |meter, all| {
            let (_, paths) = meter.configuration(all.len()).await;
            paths.into_iter().map(|path| Sent::delete(path).with("if-match", "*")).collect()
        })
        .await;
}

async fn of_configurations(meter: &mut Meter) {
    meter
        .alone("POST configuration", FEW, async |_, all| {
            let body = json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": "a"});
            all.map(|_| Sent::post(CONFIGURATIONS, body.clone())).collect()
        })
        .await;
    for (what, options) in
        [("GET configuration", ""), ("GET configuration, $expand=assignments", "?$expand=assignments")]
    {
        let requests = async |meter: &mut Meter, all: Range<usize>| {
            let (configuration, _) = meter.configuration(3).await;
            all.map(|_| Sent::get(format!("{configuration}{options}"))).collect()
        };
        meter.alone(what, FEW, requests).await;
    }
    meter
        .alone("GET configurations, a page of 100", FEW, async |meter, all| {
            meter.configurations(100).await;
            all.map(|_| Sent::get(format!("{CONFIGURATIONS}?$top=100"))).collect()
        })
        .await;
    meter
        .alone("PATCH configuration", FEW, async |meter, all| {
            let (configuration, _) = meter.configuration(0).await;
            all.map(|_| Sent::patch(&configuration, renamed())).collect()
        })
        .await;
    meter
        .alone("DELETE configuration", FEW, async |meter, all| {
            meter.configurations(all.len()).await.into_iter().map(Sent::delete).collect()
        })
        .await;
    meter
        .alone("POST device status", FEW, async |meter, all| {
            let (configuration, _) = meter.configuration(0).await;
            all.map(|_| Sent::post(format!("{configuration}/deviceStatuses"), json!({}))).collect()
        })
        .await;
}

async fn together(meter: &mut Meter) {
    let application = application(meter.options.clone()).await;
    meter
        .together("POST assignment, of one configuration", &application, async |meter, all| {
            let path = format!("{}/assignments", meter.configuration(0).await.0);
            all.map(|_| Sent::post(&path, new())).collect()
        })
        .await;
    meter
        .together("POST assignment, of 100 configurations", &application, async |meter, all| {
            let paths = meter.configurations(100).await;
            all.map(|n| Sent::post(format!("{}/assignments", paths[n % paths.len()]), new())).collect()
        })
        .await;
    meter
        .together("GET assignment", &application, async |meter, all| {
            let (_, paths) = meter.configuration(all.len()).await;
            paths.into_iter().map(Sent::get).collect()
        })
        .await;
    meter
        .together("GET assignments, of 100 configurations", &application, async |meter, all| {
            let paths = meter.configurations(100).await;
            all.map(|n| Sent::get(format!("{}/assignments", paths[n % paths.len()]))).collect()
        })
        .await;
    meter
        .together("GET configuration", &application, async |meter, all| {
            meter.configurations(all.len()).await.into_iter().map(Sent::get).collect()
        })
        .await;
}

/// Returns the application. The test calls it in its own process, so that many requests arrive at
/// the same time on every machine.
async fn application(options: PgConnectOptions) -> impl Service<Request, Response = ServiceResponse, Error = Error> {
    let settings = patient_settings();
    let pools = Pools::new(options, &settings.database, 1);
    let (writing, reading) =
        (SharedConnection::new(&pools, "devicegraph writer"), SharedConnection::new(&pools, "devicegraph reader"));
    let application = App::new()
        .app_data(Data::new(pools.pool()))
        .app_data(Data::new(Metrics::new(pools.metrics().clone())))
        .app_data(Data::new(Authenticator::new(&settings).expect("the settings are right")))
        .app_data(Data::new(Writer::start(&pools, writing)))
        .app_data(Data::new(configurations::loader::ConfigurationLoader::start(&pools, reading.clone())))
        .app_data(Data::new(assignments::loaders::AssignmentLoader::start(&pools, reading.clone())))
        .app_data(Data::new(SetLoader::start(&pools, reading)))
        .app_data(body::Limit { bytes: settings.server.max_body_bytes, time: Duration::from_secs(60) })
        .app_data(BodyMemory::new(1 << 16, 1 << 26))
        .configure(routing::routes(Version::Beta))
        .wrap(from_fn(url::check))
        .wrap(from_fn(negotiate::negotiate))
        .wrap(from_fn(authentication::authenticate))
        .wrap(from_fn(paths::normalize))
        .wrap(from_fn(telemetry::request));
    init_service(application).await
}

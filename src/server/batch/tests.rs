//! Tests of batches with an application whose answers the real one never sends.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use actix_web::{
    App, HttpResponse,
    error::ErrorInternalServerError,
    middleware::from_fn,
    test::{TestRequest, call_and_read_body, init_service},
    web::{Bytes, Data, get, post as to_post},
};
use futures_util::{future::join_all, stream::iter};
use serde_json::{Value, json};
use tokio::task::yield_now;

use super::{answer::Answer, dispatch::Dispatcher, *};
use crate::{
    config::{self, Settings},
    database::pool::{Pool, Pools},
    odata::{body::Limit, body_memory::BodyMemory},
    server::telemetry,
};

/// The number of running requests, and its maximum.
#[derive(Default)]
struct UnderWay(AtomicUsize, AtomicUsize);

fn nowhere() -> Pool {
    let defaults = ::config::File::from_str(include_str!("../../default.toml"), ::config::FileFormat::Toml);
    let settings = ::config::Config::builder().add_source(defaults).build();
    let settings: Settings = settings.and_then(::config::Config::try_deserialize).expect("the defaults are settings");
    let database = config::Database { acquire_timeout_ms: 1, ..settings.database };
    Pools::new("postgres://nowhere".parse().expect("a URL"), &database, 1).pool()
}

/// Sends all batches at once. Returns their answers, and the maximum number of requests that
/// ran at the same time.
async fn batches<const N: usize>(requests: [Value; N]) -> ([Vec<Value>; N], usize) {
    let large = Bytes::from(format!(r#""{}""#, "x".repeat(17 << 20)));
    let under_way = Data::new(UnderWay::default());
    let shared = under_way.clone();
    let application = move || {
        let large = large.clone();
        let read_it = move || {
            let body = large.clone();
            async { HttpResponse::Ok().content_type("application/json").body(body) }
        };
        let breaks_off = || async {
            let body = iter([Ok(Bytes::from("[")), Err(ErrorInternalServerError("gone"))]);
            HttpResponse::Ok().content_type("application/json").streaming(body)
        };
        let wait = async |under_way: Data<UnderWay>| {
            let now = under_way.0.fetch_add(1, Ordering::Relaxed) + 1;
            under_way.1.fetch_max(now, Ordering::Relaxed);
            // Requests that may run concurrently start meanwhile: all run on this thread.
            for _ in 0..1_000 {
                yield_now().await;
            }
            under_way.0.fetch_sub(1, Ordering::Relaxed);
            HttpResponse::NoContent().finish()
        };
        App::new()
            .app_data(shared.clone())
            .route("/v1.0/large", get().to(read_it))
            .route("/v1.0/breaks-off", get().to(breaks_off))
            .route("/v1.0/no-json", get().to(async || HttpResponse::Ok().content_type("application/json").body("{")))
            .route("/v1.0/written", to_post().to(async || HttpResponse::Created().body("")))
            .route("/v1.0/wait", get().to(wait))
            .wrap(from_fn(telemetry::request))
    };
    let outer = App::new()
        .app_data(Data::new(nowhere()))
        .app_data(Data::new(Dispatcher::new(8, application)))
        .app_data(Limit { bytes: 1 << 20, time: Duration::from_secs(60) })
        .app_data(BodyMemory::new(1 << 16, 1 << 26))
        .route("/v1.0/$batch", to_post().to(post))
        .wrap(from_fn(telemetry::request));
    let outer = init_service(outer).await;
    let answers = requests.map(|requests| {
        let request = TestRequest::post().uri("/v1.0/$batch").set_json(json!({ "requests": requests }));
        let answer = call_and_read_body(&outer, request.to_request());
        async {
            let answer: Value = serde_json::from_slice(&answer.await).expect("JSON");
            answer["responses"].as_array().expect("responses").clone()
        }
    });
    let answers = join_all(answers).await;
    (answers.try_into().expect("one each"), under_way.1.load(Ordering::Relaxed))
}

fn step(id: usize, method: &str, path: &str) -> Value {
    json!({"id": id, "method": method, "url": path})
}

fn statuses(answers: &[Value]) -> Vec<&Value> {
    answers.iter().map(|answer| &answer["status"]).collect()
}

#[actix_web::test]
async fn what_a_batch_reads_is_bounded() {
    let mut requests: Vec<_> = (0..20).map(|id| step(id, "GET", "large")).collect();
    requests[7] = step(7, "POST", "written");
    let ([answers], _) = batches([json!(requests)]).await;
    let statuses = statuses(&answers);
    // The concurrent reads started before any answer was counted.
    let expected = [[200; 4].as_slice(), &[400; 3], &[201], &[400; 12]].concat();
    assert_eq!(statuses, expected, "a write is carried out");
    assert_eq!(
        answers[19]["body"]["error"]["message"],
        "This request was not executed, because the answers to the earlier requests of the batch exceed the limit of 64 MiB. Ask for smaller pages with $top, or send this request in another batch."
    );
}

#[actix_web::test]
async fn an_answer_that_is_broken_is_that_of_its_step_alone() {
    let paths = ["breaks-off", "no-json"].map(|path| step(path.len(), "GET", path));
    let ([answers], _) =
        batches([json!([step(1, "POST", "written"), paths[0], paths[1], step(2, "POST", "written")])]).await;
    assert_eq!(statuses(&answers), [201, 500, 500, 201]);
    assert_eq!(answers[1]["body"]["error"]["code"], "InternalServerError");
}

#[actix_web::test]
async fn batches_share_what_reads_side_by_side_take() {
    let reads = || json!((0..8).map(|id| step(id, "GET", "wait")).collect::<Vec<_>>());
    let (_, max) = batches([reads()]).await;
    assert_eq!(max, 4);
    let (answers, max) = batches([reads(), reads(), reads()]).await;
    assert!(answers.iter().flatten().all(|answer| answer["status"] == 204), "{answers:?}");
    assert_eq!(max, 1 + 3 + 1 + 1, "of 8 connections");
}

#[actix_web::test]
async fn an_answer_is_written_without_a_copy() {
    let body = Bytes::from_static(b"{}");
    let response = HttpResponse::Ok().content_type("application/json").body(body.clone());
    let answer = Answer::read(response, false, "/".to_owned()).await.expect("an answer");
    assert_eq!(answer.entry("1")[1].as_ptr(), body.as_ptr());
}

//! The page for people, as it is served; `tests/console/` uses it.

use std::collections::BTreeSet;

use devicegraph::console::FILES;
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};

use crate::harness::{Answer, App, CONFIGURATIONS, beta, is_remote};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn page(app: &App) -> Answer {
    app.answer(app.anonymous(Method::GET, "/").header("accept", BROWSER)).await
}

#[actix_web::test]
async fn a_browser_gets_the_page_and_a_program_json() {
    let app = App::start().await;
    for (accept, is_page) in [
        (BROWSER, true),
        ("text/html", true),
        ("TEXT/HTML;charset=utf-8", true),
        ("application/json;q=0.5, text/html;q=0.6", true),
        ("*/*", false),
        ("", false),
        ("application/json", false),
        ("application/json, text/html;q=0.9", false),
        ("text/html;q=0", false),
        ("text/html;q=0.1, */*", false),
        ("text/plain", false),
        ("no media type", false),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let answer = app.answer(app.anonymous(method.clone(), "/").header("accept", accept)).await;
            assert_eq!(answer.status, StatusCode::OK, "{accept}");
            let expected = if is_page { "text/html;charset=utf-8" } else { "application/json" };
            assert_eq!(answer.header("content-type"), expected, "{method} {accept}");
            assert!(answer.headers.get_all("vary").iter().any(|value| value == "Accept"), "{method} {accept}");
        }
    }
    let unasked = app.answer(app.anonymous(Method::GET, "/")).await;
    assert_eq!(unasked.json()["name"], "devicegraph");
}

#[actix_web::test]
async fn every_file_is_there_for_everyone_and_is_what_it_says() {
    let app = App::start().await;
    for file in &FILES {
        let answer = app.answer(app.anonymous(Method::GET, file.path)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", file.path);
        assert_eq!(answer.header("content-type"), format!("{};charset=utf-8", file.media_type));
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    let policy = page(&app).await;
    assert_eq!(
        policy.header("content-security-policy"),
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    for path in ["/console", "/console/", "/console/x.js", "/console/mod.rs", "/console/..%2fmain.rs"] {
        assert_eq!(app.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

/// What a text loads: `src` and `href` of the page, `import` and `call` of a module, `url()` of a style.
fn loaded(text: &str) -> impl Iterator<Item = &str> {
    let starts = [
        ("src=\"", '"'),
        ("href=\"", '"'),
        (" from '", '\''),
        ("import('", '\''),
        ("url(", ')'),
        ("call('GET', '", '\''),
    ];
    starts
        .into_iter()
        .flat_map(move |(start, end)| text.split(start).skip(1).filter_map(move |rest| rest.split(end).next()))
}

#[actix_web::test]
async fn what_it_loads_is_served_and_all_that_is_served_is_loaded() {
    let app = App::start().await;
    let mut texts = vec![("/", page(&app).await.text)];
    for file in &FILES {
        texts.push((file.path, app.get(file.path).await.text));
    }
    let mut seen = BTreeSet::new();
    for (at, text) in &texts {
        let base = Url::parse("http://service").and_then(|base| base.join(at)).expect("a path");
        for reference in loaded(text).filter(|reference| !reference.starts_with('#')) {
            let url = base.join(reference).expect("a reference");
            assert_eq!(url.host_str(), Some("service"), "{reference} in {at}");
            assert_eq!(app.get(url.path()).await.status, StatusCode::OK, "{reference} in {at}");
            seen.insert(url.path().to_owned());
        }
    }
    for file in &FILES {
        assert!(seen.contains(file.path), "nothing loads {}", file.path);
    }
}

#[actix_web::test]
async fn it_names_no_other_host_makes_no_markup_of_text_and_stores_nothing() {
    let app = App::start().await;
    let mut texts = vec![("/", page(&app).await.text)];
    for file in &FILES {
        texts.push((file.path, app.get(file.path).await.text));
    }
    for (at, text) in texts {
        // What tells an SVG from other XML is a name that nobody asks for.
        let text = text.replace("http://www.w3.org/2000/svg", "");
        let words = [
            "://",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "localStorage",
            "sessionStorage",
            "indexedDB",
            "document.cookie",
            "style=",
            "<style",
            "onclick=\"",
            "javascript:",
            "@import",
        ];
        // The addresses in the sample are values of properties.
        for word in words.into_iter().filter(|word| *word != "://" || at != "/console/sample.json") {
            assert!(!text.contains(word), "{word} in {at}");
        }
        assert!(!text.split("<script").skip(1).any(|script| !script.starts_with(" type=\"module\" src=")), "{at}");
    }
}

/// The batch with which the console loads the sample.
async fn sample(app: &App) -> Value {
    let sample = app.get("/console/sample.json").await.json();
    let request = |(index, body): (usize, &Value)| {
        let headers = json!({"Content-Type": "application/json"});
        json!({"id": format!("{index}"), "atomicityGroup": "sample", "method": "POST", "headers": headers,
            "url": "/deviceManagement/deviceConfigurations", "body": body})
    };
    let configurations = sample["value"].as_array().expect("a collection");
    assert_eq!(configurations.len(), 8);
    json!({"requests": configurations.iter().enumerate().map(request).collect::<Vec<_>>()})
}

#[actix_web::test]
async fn the_sample_is_valid_on_each_version_and_can_be_loaded_again() {
    for version in ["/v1.0", "/beta"] {
        let app = App::start().await;
        let batch = sample(&app).await;
        let mut stored = Vec::new();
        for _ in 0..2 {
            let answer = app.post(&format!("{version}/$batch"), &batch).await.json();
            let answers = answer["responses"].as_array().expect("answers");
            assert!(
                answers.len() == 8 && answers.iter().all(|answer| answer["status"] == 201),
                "{version}: {answer:#}"
            );
            let mut rows = Vec::new();
            for request in batch["requests"].as_array().expect("requests") {
                let id = request["body"]["id"].as_str().expect("an id");
                let row = app.get(&format!("{}/{id}?$expand=assignments", beta(CONFIGURATIONS))).await.json();
                let sent = request["body"]["assignments"].as_array().expect("assignments");
                assert_eq!(row["assignments"].as_array().expect("assignments").len(), sent.len(), "{row}");
                rows.push(row);
            }
            stored.push(rows);
        }
        assert_eq!(stored[0], stored[1], "the second time changes nothing");
    }
}

#[actix_web::test]
async fn the_sample_is_stored_completely_or_not_at_all() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let batch = sample(&app).await;
    let last = batch["requests"][7]["body"]["id"].as_str().expect("an id");
    let other = json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": "other", "id": last});
    assert_eq!(app.post(CONFIGURATIONS, &other).await.status, StatusCode::CREATED);
    let answer = app.post("/beta/$batch", &batch).await.json();
    let statuses: Vec<_> =
        answer["responses"].as_array().expect("answers").iter().map(|answer| &answer["status"]).collect();
    assert_eq!(statuses, [424, 424, 424, 424, 424, 424, 424, 409]);
    assert_eq!(app.get(&format!("{CONFIGURATIONS}/$count")).await.text, "1");
}

//! The page for people, as it is served; `tests/console/` uses it.

use std::collections::BTreeSet;

use devicegraph::console::FILES;
use reqwest::{Method, StatusCode, Url};

use crate::harness::{Answer, App};

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

/// What a text loads: `src` and `href` of the page, `import` of a module, `url()` of a style.
fn loaded(text: &str) -> impl Iterator<Item = &str> {
    let starts = [("src=\"", '"'), ("href=\"", '"'), (" from '", '\''), ("import('", '\''), ("url(", ')')];
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
        for word in words {
            assert!(!text.contains(word), "{word} in {at}");
        }
        assert!(!text.split("<script").skip(1).any(|script| !script.starts_with(" type=\"module\" src=")), "{at}");
    }
}

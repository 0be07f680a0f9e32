//! Equivalent spellings of a path, content negotiation, preferences and links.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    filter::encoded,
    harness::{App, CONFIGURATIONS, beta, database, group, is_remote},
};

#[actix_web::test]
async fn one_resource_has_many_spellings() {
    let app = App::start().await;
    let one = app.configuration().await;
    let id = one.rsplit_once('/').expect("a key").1;
    app.post(&format!("{one}/assignments"), &group("a")).await;
    let expected = app.get(&one).await;
    for path in [
        format!("{one}/"),
        one.replace("/device", "//device"),
        one.to_uppercase().replace("V1.0", "v1.0"),
        format!("{CONFIGURATIONS}('{id}')"),
        format!("{CONFIGURATIONS}(ID='{id}')"),
        format!("{CONFIGURATIONS}%28%27{id}%27%29"),
        format!("{one}/microsoft.graph.windows10CustomConfiguration"),
        format!("{CONFIGURATIONS}/microsoft.graph.windows10CustomConfiguration/{id}"),
        format!("{CONFIGURATIONS}/microsoft.graph.deviceConfiguration('{id}')"),
        one.trim_start_matches("/v1.0").to_owned(),
    ] {
        let answer = app.get(&path).await;
        assert_eq!((answer.status, answer.text), (StatusCode::OK, expected.text.clone()), "{path}");
    }
    let assignments = app.get(&format!("{one}/assignments")).await.text;
    for path in [
        format!("{CONFIGURATIONS}('{id}')/Assignments"),
        format!("{one}/microsoft.graph.windows10CustomConfiguration/assignments"),
    ] {
        assert_eq!(app.get(&path).await.text, assignments, "{path}");
    }
    for (path, expected) in [
        (format!("{one}/microsoft.graph.iosCustomConfiguration"), "404 ResourceNotFound: The configuration"),
        (
            format!("{one}/microsoft.graph.iosCustomConfiguration/assignments"),
            "404 ResourceNotFound: The configuration",
        ),
        (format!("{one}/microsoft.graph.omaSetting"), "400 ModelValidationFailure: An entry with type"),
        (format!("{one}/microsoft.graph.nothing"), "400 ModelValidationFailure: A type named"),
        (format!("{CONFIGURATIONS}%28foo%29"), "404 ResourceNotFound: Resource not found for the path"),
        (
            format!("{CONFIGURATIONS}/$count/microsoft.graph.iosCustomConfiguration"),
            "404 ResourceNotFound: Resource not found",
        ),
        (format!("{one}/assignments%28id=x%29"), "404 ResourceNotFound: Resource not found"),
        (format!("{CONFIGURATIONS}('x')"), "404 ResourceNotFound: DeviceConfigurations not found: Profile x."),
        (format!("{CONFIGURATIONS}({id})"), "404 ResourceNotFound: Resource not found for the path"),
    ] {
        let refusal = app.get(&path).await.refusal();
        assert!(refusal.starts_with(expected), "{path}: {refusal}");
    }
    let wrong = app.delete(&format!("{one}/microsoft.graph.iosCustomConfiguration")).await;
    assert_eq!(wrong.status, StatusCode::NOT_FOUND);
    assert_eq!(app.get(&one).await.status, StatusCode::OK, "it is still there");

    // A type in the path of a collection selects the rows of this type.
    let ios = json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": format!("of {id}"), "payloadName": id});
    app.post(CONFIGURATIONS, &ios).await;
    let cast = format!("{CONFIGURATIONS}/Microsoft.Graph.iosCustomConfiguration")
        .replace("Microsoft.Graph", "microsoft.graph");
    let filter = encoded(&format!("payloadName eq '{id}'"));
    let listed = app.get(&format!("{cast}?$filter={filter}&$count=true")).await.json();
    assert_eq!((&listed["@odata.count"], &listed["value"][0]["payloadName"]), (&json!(1), &json!(id)));
    let context = format!(
        "{}/v1.0/$metadata#deviceManagement/deviceConfigurations/microsoft.graph.iosCustomConfiguration",
        app.origin
    );
    assert_eq!(listed["@odata.context"], context);
    assert_eq!(app.get(&format!("{cast}/$count?$filter={filter}")).await.text, "1");
    let other = cast.replace("iosCustom", "windows10Custom");
    assert_eq!(app.get(&format!("{other}/%24count?$filter={filter}")).await.status, StatusCode::BAD_REQUEST);
    assert!(
        app.post(&cast, &ios).await.refusal().starts_with("400 BadRequest: A create names its type in '@odata.type'.")
    );
}

#[actix_web::test]
async fn control_information_comes_as_accepted() {
    let app = App::start().await;
    let one = app.configuration().await;
    app.post(&format!("{one}/assignments"), &group("a")).await;
    let ask = async |path: &str, accept: &str| {
        let request = app.request(Method::GET, path).header("accept", accept);
        app.answer(request).await
    };
    let path = format!("{one}?$expand=assignments($count=true)");
    let unsaid = app.get(&path).await;
    for accept in ["*/*", "application/json", "text/plain;q=0.9", "text/html, application/json;odata.metadata=none"] {
        let answer = ask(&path, accept).await;
        assert_eq!((answer.header("content-type"), &answer.text), ("application/json", &unsaid.text), "{accept}");
    }
    let minimal = ask(&path, "application/json;odata.metadata=minimal;odata.streaming=true").await;
    assert_eq!(minimal.header("content-type"), "application/json;odata.metadata=minimal");
    // A client that asks for control information gets the ETag too.
    let mut without_etag = minimal.json();
    assert!(without_etag.as_object_mut().expect("an object").remove("@odata.etag").is_some());
    assert_eq!(without_etag, unsaid.json());
    for accept in
        ["application/json; odata.metadata=none", "application/json;odata.metadata=all, application/json;metadata=none"]
    {
        let none = ask(&path, accept).await;
        assert_eq!(none.header("content-type"), "application/json;odata.metadata=none");
        assert_eq!(none.text.match_indices('@').count(), 1, "{}", none.text);
        assert_eq!(none.json()["assignments@odata.count"], 1);
        let members = |text: &str| text.match_indices("\":").count();
        assert!(members(&none.text) > 10 && none.text.starts_with(r#"{"id":"#), "{}", none.text);
    }
    let paged = ask(&format!("{CONFIGURATIONS}?$top=0&$count=true"), "application/json;odata.metadata=none").await;
    assert!(paged.json()["@odata.count"].is_number() && paged.json().get("@odata.context").is_none());
    let unwanted = ask(&path, "application/json;odata.metadata=none;q=0, application/json").await;
    assert_eq!(unwanted.text, unsaid.text);
    let deep = format!("{}1{}", "[".repeat(99), "]".repeat(99));
    let body =
        format!(r##"{{"@odata.type":"#microsoft.graph.iosCustomConfiguration","displayName":"a","deep":{deep}}}"##);
    let id = app.send_text(Method::POST, &beta(CONFIGURATIONS), body).await.id();
    let listed =
        ask(&format!("{}?$filter=id%20eq%20'{id}'", beta(CONFIGURATIONS)), "application/json;odata.metadata=none")
            .await;
    assert!(listed.text.contains(&deep), "{}", listed.text);
    let other = ask(&path, "application/json;odata.metadata=all").await.refusal();
    assert_eq!(
        other,
        "406 NotAcceptable: The header Accept asks for odata.metadata=all. Ask for minimal, full or none."
    );
    // An error is plain JSON, whatever control information the client asks for.
    let none = ask(&format!("{CONFIGURATIONS}/x"), "application/json;odata.metadata=none").await;
    assert_eq!((none.status, none.header("content-type")), (StatusCode::NOT_FOUND, "application/json"));

    for (name, value, status) in [
        ("odata-version", "4.0", 200),
        ("odata-version", "4.01", 200),
        ("odata-version", "3.0", 400),
        ("odata-maxversion", "4", 200),
        ("odata-maxversion", "4.0", 200),
        ("odata-maxversion", "5.0", 200),
        ("odata-maxversion", "3.0", 400),
        ("odata-maxversion", "x", 400),
    ] {
        let answer = app.answer(app.request(Method::GET, &one).header(name, value)).await;
        assert_eq!((answer.status.as_u16(), answer.header("odata-version")), (status, "4.0"), "{name}: {value}");
    }
    assert_eq!(app.get(&format!("{one}?$nothing=1")).await.header("odata-version"), "4.0");
}

#[actix_web::test]
async fn an_applied_preference_is_named_in_the_answer() {
    let app = App::start().await;
    let one = app.configuration().await;
    let body = json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": "a"});
    for (prefer, created, changed) in [("return=minimal", 204, 204), ("return=representation", 201, 200)] {
        let send = async |method: Method, path: &str, body: &Value| {
            let request = app.request(method, path).header("prefer", prefer).header("content-type", "application/json");
            app.answer(request.body(body.to_string())).await
        };
        let answer = send(Method::POST, CONFIGURATIONS, &body).await;
        assert_eq!((answer.status.as_u16(), answer.header("preference-applied")), (created, prefer), "{}", answer.text);
        let location = answer.header("location").trim_start_matches(&app.origin).to_owned();
        assert_eq!(app.get(&location).await.json()["displayName"], "a");
        if created == 204 {
            assert_eq!((answer.header("odata-entityid"), answer.text.as_str()), (answer.header("location"), ""));
        }
        let answer = send(Method::PATCH, &one, &json!({"displayName": prefer})).await;
        assert_eq!((answer.status.as_u16(), answer.header("preference-applied")), (changed, prefer), "{}", answer.text);
        let answer = send(Method::POST, &format!("{one}/assignments"), &group(prefer)).await;
        assert_eq!((answer.status.as_u16(), answer.header("preference-applied")), (created, prefer), "{}", answer.text);
    }
}

#[actix_web::test]
async fn links_use_the_forwarded_origin_only_if_the_setting_trusts_it() {
    if is_remote() {
        return;
    }
    for is_believed in [true, false] {
        let app = App::start_on(database(true).await, |settings| settings.server.forwarded_headers = is_believed).await;
        app.configuration().await;
        app.configuration().await;
        for headers in [
            vec![("x-forwarded-host", "graph.example.com:8443"), ("x-forwarded-proto", "https")],
            vec![("forwarded", "for=1.2.3.4;proto=https;host=\"graph.example.com:8443\"")],
        ] {
            let mut request = app.request(Method::GET, &format!("{}?$top=1", beta(CONFIGURATIONS)));
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let answer = app.answer(request).await.json();
            let origin = if is_believed { "https://graph.example.com:8443" } else { &app.origin };
            for member in ["@odata.context", "@odata.nextLink"] {
                let link = answer[member].as_str().expect("a link");
                assert!(link.starts_with(&format!("{origin}/beta/")), "{link}");
            }
        }
        let odd = app
            .request(Method::GET, CONFIGURATIONS)
            .header("x-forwarded-host", "a@b c")
            .header("x-forwarded-proto", "gopher");
        assert_eq!(app.answer(odd).await.status, StatusCode::OK);
    }
}

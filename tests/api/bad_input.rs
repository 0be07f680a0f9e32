//! Bad input is refused with Graph's error envelope, never with a 500, and nothing is written.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    harness::{App, CONFIGURATIONS, beta, database, group, gzip, is_remote},
    tokens,
};

#[actix_web::test]
async fn a_bad_assignment_is_refused_by_name() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let path = format!("{configuration}/assignments");
    let typed = |name: &str| format!(r##""@odata.type":"#microsoft.graph.{name}""##);
    let all_devices = typed("allDevicesAssignmentTarget");
    let group_target = typed("groupAssignmentTarget");
    for (body, refusal) in [
        ("", "BadRequest: The request body is empty. Send a JSON object."),
        ("\r\n ", "BadRequest: The request body is empty. Send a JSON object."),
        (
            r#"{"target":"#,
            "BadRequest: Unable to read JSON request payload: EOF while parsing a value at line 1 column 10.",
        ),
        (
            "[]",
            r#"BadRequest: The request body must be a JSON object, not an array. A create takes one object, and 'assign' takes {"assignments": […]}."#,
        ),
        ("null", "BadRequest: The request body must be a JSON object, not null."),
        ("7", "BadRequest: The request body must be a JSON object, not a number."),
        (
            "\u{feff}{}",
            "BadRequest: The request body starts with a byte order mark. Send JSON in UTF-8 without this mark.",
        ),
        (
            r#"{"target":{},"target":{}}"#,
            "BadRequest: Unable to read JSON request payload: the member 'target' appears twice",
        ),
        (
            &format!(r#"{{"target":{{{group_target},"groupId":"a","groupId":"b"}}}}"#),
            "BadRequest: Unable to read JSON request payload: the member 'groupId' appears twice",
        ),
        ("{}", "ModelValidationFailure: The member 'target' is missing. An assignment needs a target."),
        (
            r#"{"target":null}"#,
            "ModelValidationFailure: The value of 'target' must be an object of type 'microsoft.graph.deviceAndAppManagementAssignmentTarget', not null.",
        ),
        (
            r#"{"target":"all"}"#,
            "ModelValidationFailure: The value of 'target' must be an object of type 'microsoft.graph.deviceAndAppManagementAssignmentTarget', not a string.",
        ),
        (
            r#"{"target":{}}"#,
            "ModelValidationFailure: The member 'target.@odata.type' is missing. Send the type of the target",
        ),
        (
            r#"{"target":{"@odata.type":5}}"#,
            "ModelValidationFailure: Cannot convert the literal '5' to the expected type 'Edm.String' for the member 'target.@odata.type'.",
        ),
        (
            &format!("{{\"target\":{{{}}}}}", typed("nothing")),
            "ModelValidationFailure: A type named 'microsoft.graph.nothing' could not be resolved by the model.",
        ),
        (
            &format!("{{\"target\":{{{}}}}}", typed("iosCustomConfiguration")),
            "ModelValidationFailure: An entry with type 'microsoft.graph.iosCustomConfiguration' was found, but it is not assignable to the expected type 'microsoft.graph.deviceAndAppManagementAssignmentTarget'.",
        ),
        (
            &format!("{{{},\"target\":{{{all_devices}}}}}", typed("iosCustomConfiguration")),
            "ModelValidationFailure: An entry with type 'microsoft.graph.iosCustomConfiguration' was found, but it is not assignable to the expected type 'microsoft.graph.deviceConfigurationAssignment'.",
        ),
        (
            &format!("{{\"target\":{{{group_target}}}}}"),
            "ModelValidationFailure: The member 'target.groupId' is missing.",
        ),
        (
            &format!("{{\"target\":{{{group_target},\"groupId\":null}}}}"),
            "ModelValidationFailure: Cannot convert the literal 'null' to the expected type 'Edm.String' for the member 'target.groupId'.",
        ),
        (
            &format!("{{\"target\":{{{group_target},\"groupId\":\"\"}}}}"),
            "ModelValidationFailure: The value of 'target.groupId' has 0 characters. Send 1 to 256.",
        ),
        (
            &format!("{{\"target\":{{{group_target},\"groupId\":[\"a\"]}}}}"),
            "ModelValidationFailure: Cannot convert the literal 'an array' to the expected type 'Edm.String'",
        ),
        (
            &format!(
                "{{\"target\":{{{},\"groupId\":\"a\"}}}}",
                typed("configurationManagerCollectionAssignmentTarget")
            ),
            "ModelValidationFailure: The member 'target.collectionId' is missing.",
        ),
        (
            &format!("{{\"target\":{{{all_devices},\"groupId\":\"a\"}}}}"),
            "ModelValidationFailure: The property 'groupId' does not exist on type 'microsoft.graph.allDevicesAssignmentTarget'.",
        ),
        (
            &format!("{{\"target\":{{{all_devices}}},\"targets\":1}}"),
            "ModelValidationFailure: The property 'targets' does not exist on type 'microsoft.graph.deviceConfigurationAssignment'. Make sure to only use property names that are defined by the type. 'targets' is misspelt. Write 'target'.",
        ),
        (
            &format!("{{\"target\":{{{all_devices}}},\"id\":\"a\"}}"),
            "ModelValidationFailure: The value 'a' of 'id' is not a GUID.",
        ),
        (
            &format!("{{\"target\":{{{group_target},\"groupId\":\"a\\u0000b\"}}}}"),
            "BadRequest: Unable to read JSON request payload: the member 'groupId' contains the character NUL, which cannot be stored",
        ),
        (
            &format!("{{\"target\":{{{group_target},\"groupId\":\"\\ud800\"}}}}"),
            "BadRequest: Unable to read JSON request payload: ",
        ),
        (
            &format!("{{\"target\":{{{group_target},\"groupId\":\"{}\"}}}}", "a".repeat(257)),
            "ModelValidationFailure: The value of 'target.groupId' has 257 characters. Send 1 to 256.",
        ),
        (
            &format!("{{\"target\":{}1{}}}", "{\"a\":".repeat(5000), "}".repeat(5000)),
            "BadRequest: Unable to read JSON request payload: the member 'a' contains arrays and objects nested more than 100 levels deep",
        ),
    ] {
        for path in [&path, &beta(&path)] {
            let refused = app.send_text(Method::POST, path, body.to_owned()).await.refusal();
            assert!(refused.starts_with(&format!("400 {refusal}")), "{body}\n{refused}");
        }
    }
    let not_utf8 = app.send_text(Method::POST, &path, vec![b'{', b'"', 0xff, b'"', b':', b'1', b'}']).await.refusal();
    assert!(not_utf8.starts_with("400 BadRequest: Unable to read JSON request payload: "), "{not_utf8}");
    assert_eq!(app.assignments(&configuration).await, [] as [Value; 0]);
}

#[actix_web::test]
async fn a_bad_configuration_is_refused_by_name() {
    let app = App::start().await;
    let custom = |member: &str, value: Value| {
        let mut body = json!({"@odata.type": "#microsoft.graph.windows10CustomConfiguration", "displayName": "bad"});
        body[member] = value;
        body
    };
    for (body, refusal) in [
        (
            custom("displayName", Value::Null),
            "Cannot convert the literal 'null' to the expected type 'Edm.String' for the member 'displayName'.",
        ),
        (
            custom("displayName", json!(["bad"])),
            "Cannot convert the literal 'an array' to the expected type 'Edm.String' for the member 'displayName'.",
        ),
        (
            custom("description", json!(1)),
            "Cannot convert the literal '1' to the expected type 'Edm.String' for the member 'description'.",
        ),
        (
            custom("@odata.type", json!(1)),
            "Cannot convert the literal '1' to the expected type 'Edm.String' for the member '@odata.type'.",
        ),
        (custom("@type", json!("x")), "The member '@type' is misspelt. Write '@odata.type'."),
        (
            custom("deviceStatuses", json!([{}])),
            "The member 'deviceStatuses' is a navigation property and cannot be set here: leave it out.",
        ),
        (
            json!({"@odata.type": "#microsoft.graph.windows10CustomConfiguration"}),
            "The member 'displayName' is missing.",
        ),
    ] {
        let refused = app.post(CONFIGURATIONS, &body).await.refusal();
        assert!(refused.starts_with(&format!("400 ModelValidationFailure: {refusal}")), "{refused}");
    }
    let nul = app.post(CONFIGURATIONS, &custom("omaSettings", json!([{"value": "a\0"}]))).await.refusal();
    assert!(
        nul.starts_with(
            "400 BadRequest: Unable to read JSON request payload: the member 'value' contains the character NUL"
        ),
        "{nul}"
    );
    let count = app.get(&format!("{CONFIGURATIONS}/$count?$filter=displayName%20eq%20'bad'")).await;
    assert_eq!(count.text, "0", "nothing was written");
}

#[actix_web::test]
async fn a_body_that_is_not_json_in_utf8_is_415() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let path = format!("{configuration}/assignments");
    let send = async |name: &str, value: &str| {
        let request = app.request(Method::POST, &path).header(name, value);
        let request = if name == "content-type" { request } else { request.header("content-type", "application/json") };
        app.answer(request.body(group("a").to_string())).await
    };
    for value in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "application/json-patch+json",
        "application/json;charset=utf-16",
        "nonsense",
    ] {
        assert!(
            send("content-type", value)
                .await
                .refusal()
                .starts_with("415 RequestBodyRead: The body of this request must be JSON in UTF-8"),
            "{value}"
        );
    }
    assert_eq!(
        app.answer(app.request(Method::POST, &path).body("{}")).await.status,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    for value in ["br", "zstd", "gzip, gzip", "rot13"] {
        assert!(
            send("content-encoding", value).await.refusal().starts_with("415 RequestBodyRead: The Content-Encoding"),
            "{value}"
        );
    }
    for value in ["gzip", "deflate"] {
        assert!(
            send("content-encoding", value)
                .await
                .refusal()
                .starts_with("400 BadRequest: The request body is not in the encoding"),
            "{value}"
        );
    }
    assert_eq!(app.assignments(&configuration).await, [] as [Value; 0]);
    let accepted = send("content-type", "Application/JSON; odata.metadata=minimal; charset=UTF-8").await;
    assert_eq!(accepted.status, StatusCode::CREATED, "{}", accepted.text);
}

#[actix_web::test]
async fn the_limit_of_a_body_counts_its_decoded_bytes() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, |settings| settings.server.max_body_bytes = 10_000).await;
    let configuration = app.configuration().await;
    let path = format!("{configuration}/assignments");
    let send = async |encoding: &str, body: Vec<u8>| {
        let request = app
            .request(Method::POST, &path)
            .header("content-type", "application/json")
            .header("content-encoding", encoding);
        app.answer(request.body(body)).await
    };
    let created = send("gzip", gzip(group("a").to_string().as_bytes())).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    let mut zlib = flate2::read::ZlibEncoder::new(
        &br##"{"target":{"@odata.type":"#microsoft.graph.allDevicesAssignmentTarget"}}"##[..],
        flate2::Compression::fast(),
    );
    let mut deflated = Vec::new();
    std::io::Read::read_to_end(&mut zlib, &mut deflated).expect("memory");
    assert_eq!(send("deflate", deflated).await.status, StatusCode::CREATED);
    assert_eq!(send("identity", group("b").to_string().into_bytes()).await.status, StatusCode::CREATED);

    let refusal = "413 RequestEntityTooLarge: The request body is larger than 10000 bytes, which is the limit. Send a smaller body, or split it into several requests.";
    let padded = |spaces: usize| format!("{}{}", group("c"), " ".repeat(spaces)).into_bytes();
    assert_eq!(send("gzip", gzip(&padded(10_000))).await.refusal(), refusal);
    assert_eq!(send("identity", padded(10_000)).await.refusal(), refusal);
    // A chunked body has no length that the service can check first.
    let (origin, address) = (&app.origin, app.origin.trim_start_matches("http://"));
    let mut stream = TcpStream::connect(address).await.expect("the service listens");
    let token = tokens::issuer().map(|issuer| issuer.bearer(&issuer.claims())).unwrap_or_default();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    for _ in 0..6 {
        stream.write_all(format!("7d0\r\n{}\r\n", " ".repeat(2000)).as_bytes()).await.expect("sent");
    }
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{origin}: {answer}");
    assert_eq!(app.assignments(&configuration).await.len(), 3);
    assert_eq!(send("identity", padded(9_000)).await.status, StatusCode::CREATED);
}

#[actix_web::test]
async fn an_unknown_path_is_404_and_an_unrouted_method_405() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    for path in [
        "/v1.0",
        "/v2.0/deviceManagement/deviceConfigurations",
        "/beta/deviceManagement",
        "/deviceManagement/x",
        &format!("{configuration}/x"),
        "/health",
    ] {
        let refusal = app.get(path).await.refusal();
        assert!(
            refusal.starts_with(&format!(
                "404 ResourceNotFound: Resource not found for the path '{}'.",
                crate::harness::redact(path)
            )),
            "{refusal}"
        );
    }
    for (method, path, allowed) in [
        (Method::PUT, CONFIGURATIONS.to_owned(), "GET, HEAD, POST"),
        (Method::POST, configuration.clone(), "GET, HEAD, PATCH, DELETE"),
        (Method::GET, format!("{configuration}/assign"), "POST"),
        (Method::GET, format!("{configuration}/microsoft.graph.assign"), "POST"),
        (Method::DELETE, format!("{configuration}/assignments"), "GET, HEAD, POST"),
        (Method::PATCH, format!("{configuration}/assignments/$ref"), "GET, HEAD, POST"),
        (Method::OPTIONS, format!("{configuration}/assignments/x"), "GET, HEAD, PATCH, DELETE"),
        (Method::POST, "/health/live".to_owned(), "GET, HEAD"),
        (Method::from_bytes(b"BREW").expect("a token"), CONFIGURATIONS.to_owned(), "GET, HEAD, POST"),
    ] {
        let answer = app.send(method.clone(), &path).await;
        assert_eq!(
            answer.refusal(),
            format!(
                "405 Request_BadRequest: Specified HTTP method is not allowed for the request target. Use one of: {allowed}."
            ),
            "{method} {path}"
        );
        assert_eq!(answer.header("allow"), allowed);
    }
}

#[actix_web::test]
async fn bad_percent_encoding_is_400() {
    let app = App::start().await;
    for (path, part) in [
        ("%", "path"),
        ("%zz", "path"),
        ("%f", "path"),
        ("%ff", "path"),
        ("a%c3%28", "path"),
        ("?a=%", "query"),
        ("?%ff=1", "query"),
    ] {
        assert_eq!(
            app.get(&format!("{CONFIGURATIONS}/{path}")).await.refusal(),
            format!(
                "400 BadRequest: The {part} of the URL is not percent-encoded UTF-8. Write a '%' in a text as '%25'."
            ),
            "{path}"
        );
    }
}

#[actix_web::test]
async fn a_query_option_that_a_path_does_not_take_is_refused_by_name_and_a_custom_one_ignored() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let (assignments, statuses) = (format!("{configuration}/assignments"), format!("{configuration}/deviceStatuses"));
    for (path, option) in [
        (CONFIGURATIONS, "$search"),
        (CONFIGURATIONS, "Search"),
        (CONFIGURATIONS, "%24apply"),
        (CONFIGURATIONS, "format"),
        (&configuration, "$filter"),
        (&configuration, "top"),
        (&assignments, "$expand"),
        (&statuses, "$top"),
        (&format!("{CONFIGURATIONS}/$count"), "$top"),
        (&format!("{CONFIGURATIONS}/$count"), "$select"),
    ] {
        let name = option.replace("%24", "").replace('$', "").to_lowercase();
        let refusal = app.get(&format!("{path}?a=1&{option}=x")).await.refusal();
        assert!(
            refusal.starts_with(&format!("400 BadRequest: The query option '${name}' is not supported here.")),
            "{path} {refusal}"
        );
    }
    for option in ["$nothing", "$", "$toop"] {
        let refusal = app.get(&format!("{CONFIGURATIONS}?{option}=x")).await.refusal();
        assert!(refusal.starts_with(&format!("400 BadRequest: The query option '{option}' is not")), "{refusal}");
    }
    for (method, path) in
        [(Method::POST, CONFIGURATIONS), (Method::PATCH, &configuration), (Method::DELETE, &configuration)]
    {
        let refusal = app.send(method, &format!("{path}?$select=id")).await.refusal();
        assert!(refusal.starts_with("400 BadRequest: The query option '$select' is not supported here."), "{refusal}");
    }
    let twice = app.get(&format!("{CONFIGURATIONS}?$top=1&top=2")).await.refusal();
    assert_eq!(twice, "400 BadRequest: The query option '$top' appears twice. Send it once.");
    assert_eq!(app.get(&format!("{configuration}?&trace=1&filters")).await.status, StatusCode::OK);
    let strict = app.request(Method::GET, &format!("{configuration}?trace=1")).header("prefer", "handling=strict");
    assert!(app.answer(strict).await.refusal().starts_with("400 BadRequest: The query option 'trace' is unknown"));
}

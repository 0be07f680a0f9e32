//! Authentication and authorization: the requests that are refused with 401 or 403, and those that
//! are not.

use devicegraph::{
    auth::{Access, PublicDocument},
    catalogue::version::{self, Version},
    config::Names,
    server::routes,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use self::headers::{Powerless, Worthless, powerless, worthless};
use crate::{
    harness::{Answer, App, CONFIGURATIONS, database, group, is_remote},
    tokens::{NAME, OID, READ, WRITE, issuer},
};

mod headers;

/// The method, path and required access of each route of the service. A route that is missing here
/// fails the test, and the test sends requests to each route of the list.
const OWN: [&str; 23] = [
    "Open GET /",
    "Open GET /console/console.css",
    "Open GET /console/icon.svg",
    "Open GET /console/main.js",
    "Open GET /console/api.js",
    "Open GET /console/requests.js",
    "Open GET /console/token.js",
    "Open GET /console/list.js",
    "Open GET /console/empty.js",
    "Open GET /console/sample.json",
    "Open GET /console/configuration.js",
    "Open GET /console/assignments.js",
    "Open GET /console/dom.js",
    "Open GET /health/live",
    "Open GET /health/ready",
    "PublicDocument(Metrics) GET /metrics",
    "PublicDocument(OpenApi) GET /openapi.json",
    "PublicDocument(Docs) GET /docs",
    "PublicDocument(OpenApi) GET /docs/v1.0.json",
    "PublicDocument(OpenApi) GET /docs/beta.json",
    "PublicDocument(Docs) GET /docs/page.js",
    "PublicDocument(Docs) GET /docs/swagger-ui.css",
    "PublicDocument(Docs) GET /docs/swagger-ui-bundle.js",
];
const GRAPH: [&str; 45] = [
    "PublicDocument(Metadata) GET /$metadata",
    "Token POST /$batch",
    "Read GET /deviceManagement/deviceConfigurations",
    "ReadWrite POST /deviceManagement/deviceConfigurations",
    "Read GET /deviceManagement/deviceConfigurations/$count",
    "Read GET /deviceManagement/deviceConfigurations/{configuration}",
    "ReadWrite PATCH /deviceManagement/deviceConfigurations/{configuration}",
    "ReadWrite DELETE /deviceManagement/deviceConfigurations/{configuration}",
    "ReadWrite POST /deviceManagement/deviceConfigurations/{configuration}/assign",
    "ReadWrite POST /deviceManagement/deviceConfigurations/{configuration}/microsoft.graph.assign",
    "ReadWrite GET /deviceManagement/deviceConfigurations/{configuration}/getOmaSettingPlainTextValue({arguments})",
    "ReadWrite GET /deviceManagement/deviceConfigurations/{configuration}/microsoft.graph.getOmaSettingPlainTextValue({arguments})",
    "Read GET /deviceManagement/deviceConfigurations/{configuration}/assignments",
    "ReadWrite POST /deviceManagement/deviceConfigurations/{configuration}/assignments",
    "Read GET /deviceManagement/deviceConfigurations/{configuration}/assignments/$ref",
    "ReadWrite POST /deviceManagement/deviceConfigurations/{configuration}/assignments/$ref",
    "Read GET /deviceManagement/deviceConfigurations/{configuration}/assignments/$count",
    "Read GET /deviceManagement/deviceConfigurations/{configuration}/assignments/{assignment}",
    "ReadWrite PATCH /deviceManagement/deviceConfigurations/{configuration}/assignments/{assignment}",
    "ReadWrite DELETE /deviceManagement/deviceConfigurations/{configuration}/assignments/{assignment}",
    "Read GET /deviceManagement/deviceConfigurations/{configuration}/groupAssignments",
    "Read GET /deviceManagement/deviceConfigurations/{configuration}/groupAssignments/$ref",
    "Read GET /deviceManagement/deviceConfigurations/{configuration}/groupAssignments/{assignment}",
    "Read GET /deviceManagement/deviceConfigurations/{configuration}/deviceStatuses",
    "ReadWrite POST /deviceManagement/deviceConfigurations/{configuration}/deviceStatuses",
    "Read GET /deviceManagement/deviceConfigurations/{configuration}/deviceStatuses/$ref",
    "Read GET /deviceManagement/deviceConfigurations/{configuration}/deviceStatuses/{status}",
    "ReadWrite PATCH /deviceManagement/deviceConfigurations/{configuration}/deviceStatuses/{status}",
    "ReadWrite DELETE /deviceManagement/deviceConfigurations/{configuration}/deviceStatuses/{status}",
    "Read GET /deviceManagement/deviceConfigurations/{configuration}/userStatuses",
    "ReadWrite POST /deviceManagement/deviceConfigurations/{configuration}/userStatuses",
    "Read GET /deviceManagement/deviceConfigurations/{configuration}/userStatuses/$ref",
    "Read GET /deviceManagement/deviceConfigurations/{configuration}/userStatuses/{status}",
    "ReadWrite PATCH /deviceManagement/deviceConfigurations/{configuration}/userStatuses/{status}",
    "ReadWrite DELETE /deviceManagement/deviceConfigurations/{configuration}/userStatuses/{status}",
    "Read GET /deviceManagement/deviceConfigurations/{configuration}/deviceSettingStateSummaries",
    "ReadWrite POST /deviceManagement/deviceConfigurations/{configuration}/deviceSettingStateSummaries",
    "Read GET /deviceManagement/deviceConfigurations/{configuration}/deviceSettingStateSummaries/$ref",
    "Read GET /deviceManagement/deviceConfigurations/{configuration}/deviceSettingStateSummaries/{status}",
    "ReadWrite PATCH /deviceManagement/deviceConfigurations/{configuration}/deviceSettingStateSummaries/{status}",
    "ReadWrite DELETE /deviceManagement/deviceConfigurations/{configuration}/deviceSettingStateSummaries/{status}",
    "Read GET /deviceManagement/deviceConfigurations/{configuration}/deviceStatusOverview",
    "Read GET /deviceManagement/deviceConfigurations/{configuration}/deviceStatusOverview/$ref",
    "Read GET /deviceManagement/deviceConfigurations/{configuration}/userStatusOverview",
    "Read GET /deviceManagement/deviceConfigurations/{configuration}/userStatusOverview/$ref",
];

fn listed(entries: &[routes::Route]) -> Vec<String> {
    entries.iter().map(|entry| format!("{:?} {} {}", entry.access, entry.method, entry.path)).collect()
}

/// Returns whether a route needs no token with the default settings. `/metrics` needs one.
fn is_open(access: Access) -> bool {
    matches!(
        access,
        Access::Open
            | Access::PublicDocument(PublicDocument::Metadata | PublicDocument::OpenApi | PublicDocument::Docs)
    )
}

#[actix_web::test]
async fn every_route_refuses_invalid_and_insufficient_tokens() {
    assert_eq!(
        (listed(routes::SERVICE_ROUTES), listed(routes::GRAPH_ROUTES)),
        (OWN.map(str::to_owned).into(), GRAPH.map(str::to_owned).into())
    );
    let Some(issuer) = issuer() else { return };
    let app = App::start().await;
    let configuration = app.configuration().await;
    let assignment = app.post(&format!("{configuration}/assignments"), &group("kept")).await.id();
    let before = (app.get(&configuration).await.text, app.assignments(&configuration).await);
    let id = configuration.rsplit('/').next().expect("an id");

    let mut paths: Vec<(String, &[routes::Route], bool)> = Vec::new();
    for (mount, version, entries) in version::MOUNTS
        .map(|(mount, version)| (mount, version, routes::GRAPH_ROUTES))
        .into_iter()
        .chain([("", Version::V1, routes::SERVICE_ROUTES)])
    {
        // Send every token to the first mount of a path. Send only some tokens to the other mounts
        // of the same path.
        let is_first_mount = mount == version::MOUNTS[0].0 || entries.len() == routes::SERVICE_ROUTES.len();
        for of_path in entries.chunk_by(|one, next| one.path == next.path).filter(|of| of[0].is_on(version)) {
            let is_first = is_first_mount || of_path[0].is_only_on_beta;
            let path = of_path[0].path.replace("{configuration}", id).replace("{assignment}", &assignment);
            paths.push((format!("{mount}{path}"), of_path, is_first));
        }
    }
    paths.push(("/v1.0/deviceManagement/nothing".to_owned(), &[], true));
    let (worthless, powerless) = (worthless(issuer), powerless(issuer));
    let checks = paths.iter().map(async |(path, entries, is_first)| {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let path = Path { app: &app, path, entries, method };
            path.refuses_worthless(&worthless, *is_first).await;
            path.refuses_powerless(&powerless).await;
        }
    });
    futures_util::future::join_all(checks).await;
    assert_eq!((app.get(&configuration).await.text, app.assignments(&configuration).await), before);
}

/// A path, its entries in the route table, and a method that the path may not have.
struct Path<'a> {
    app: &'a App,
    path: &'a str,
    entries: &'a [routes::Route],
    method: Method,
}

impl Path<'_> {
    async fn send(&self, authorization: Option<&String>) -> Answer {
        let request = self.app.anonymous(self.method.clone(), self.path).header("content-type", "application/json");
        let request = authorization.iter().fold(request, |request, value| request.header("authorization", *value));
        self.app.answer(request.body(group("not to be written").to_string())).await
    }

    fn is_open(&self) -> bool {
        self.entries.iter().any(|entry| is_open(entry.access))
    }

    /// Returns the access that the route table requires, or `None` when the path does not have the
    /// method.
    fn access(&self) -> Option<Access> {
        let method = if self.method == Method::HEAD { Method::GET } else { self.method.clone() };
        self.entries.iter().find(|entry| entry.method.as_str() == method.as_str()).map(|entry| entry.access)
    }

    /// Sends every header of `worthless` with a method that the path has, and with one that it does
    /// not have. Sends only some of them with the other methods, when `is_first` is `false`, and
    /// when the path needs no token.
    async fn refuses_worthless(&self, worthless: &[Worthless], is_first: bool) {
        let Self { path, method, .. } = self;
        let sends_all = is_first && !self.is_open() && (self.access().is_some() || method == Method::TRACE);
        let some = ["no token", "garbage", "expired", "wrong key"];
        for (what, authorization, message) in worthless.iter().filter(|(what, ..)| sends_all || some.contains(what)) {
            let answer = self.send(authorization.as_ref()).await;
            if self.is_open() {
                assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}: {what}");
                continue;
            }
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}: {what}: {}", answer.text);
            let challenge = match *message == "Access token is empty." {
                true => r#"Bearer realm="devicegraph""#,
                false => r#"Bearer realm="devicegraph", error="invalid_token""#,
            };
            assert_eq!(answer.header("www-authenticate"), challenge, "{what}");
            if method != Method::HEAD {
                let said = answer.refusal();
                assert!(said.starts_with(&format!("401 InvalidAuthenticationToken: {message}")), "{what}: {said}");
            }
        }
    }

    async fn refuses_powerless(&self, powerless: &[Powerless]) {
        let Self { path, method, .. } = self;
        let access = self.access();
        for (what, authorization, is_too_little) in powerless {
            let answer = self.send(Some(authorization)).await;
            let is_forbidden = match access {
                Some(access) => is_too_little(access),
                // The path does not have the method. Any token with a permission may learn this.
                None => !self.is_open() && is_too_little(Access::Token),
            };
            let is_refused = answer.status == StatusCode::FORBIDDEN;
            assert_eq!(is_refused, is_forbidden, "{method} {path}: {what}: {}", answer.text);
            if is_forbidden && method != Method::HEAD {
                assert!(answer.refusal().starts_with("403 Forbidden: "), "{}", answer.text);
            }
            assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}: {what}");
            // None of these tokens may write.
            assert!(is_forbidden || !matches!(access, Some(Access::ReadWrite)), "{method} {path}: {what}");
        }
    }
}

#[actix_web::test]
async fn documents_about_the_service_are_open_unless_the_settings_close_them() {
    if is_remote() {
        return;
    }
    let issuer = issuer().expect("an issuer");
    let documents: Vec<String> =
        [(vec![""], routes::SERVICE_ROUTES), (version::MOUNTS.map(|(mount, _)| mount).into(), routes::GRAPH_ROUTES)]
            .into_iter()
            .flat_map(|(mounts, entries)| {
                mounts.into_iter().flat_map(|mount| entries.iter().map(move |entry| (mount, entry)))
            })
            .filter(|(_, entry)| matches!(entry.access, Access::PublicDocument(_)))
            .map(|(mount, entry)| format!("{mount}{}", entry.path))
            .collect();
    assert!(documents.contains(&"/beta/$metadata".to_owned()), "{documents:?}");
    for (open, expected) in
        [(vec!["none"], StatusCode::UNAUTHORIZED), (vec!["metadata", "openapi", "docs", "metrics"], StatusCode::OK)]
    {
        let app = App::start_on(database(true).await, |settings| {
            settings.auth.open = Names(open.iter().map(|&name| name.to_owned()).collect());
        })
        .await;
        for path in &documents {
            assert_eq!(app.answer(app.anonymous(Method::GET, path)).await.status, expected, "{path}");
            // Any valid token gives access, even one without permissions.
            let nobody = app.anonymous(Method::GET, path).header("authorization", issuer.with("roles", Value::Null));
            assert_eq!(app.answer(nobody).await.status, StatusCode::OK, "{path}");
        }
    }
}

#[actix_web::test]
async fn a_missing_scope_is_named() {
    let Some(issuer) = issuer() else { return };
    let app = App::start().await;
    let send = async |method, authorization| {
        app.answer(app.anonymous(method, CONFIGURATIONS).header("authorization", authorization)).await
    };
    let read = send(Method::GET, issuer.with("roles", Value::Null)).await;
    assert_eq!(
        read.refusal(),
        "403 Forbidden: Application is not authorized to perform this operation. Application must have one of the following scopes: DeviceManagementConfiguration.Read.All, DeviceManagementConfiguration.ReadWrite.All. Get a token that has it, in 'scp' for a user or in 'roles' for an application."
    );
    assert_eq!(
        read.header("www-authenticate"),
        r#"Bearer realm="devicegraph", error="insufficient_scope", scope="DeviceManagementConfiguration.Read.All DeviceManagementConfiguration.ReadWrite.All""#
    );
    let write = send(Method::POST, issuer.with("roles", json!([READ]))).await.refusal();
    assert!(write.contains("one of the following scopes: DeviceManagementConfiguration.ReadWrite.All. "), "{write}");
    let personal = send(Method::GET, issuer.with("tid", "9188040D-6C67-4C5B-B112-36A304B66DAD")).await.refusal();
    assert!(personal.starts_with("403 Forbidden: Personal Microsoft accounts are not supported."), "{personal}");
}

#[actix_web::test]
async fn a_401_comes_before_any_other_verdict() {
    let Some(issuer) = issuer() else { return };
    let app = App::start().await;
    let (path, wrong) = (format!("{CONFIGURATIONS}?$filter=x&%zz"), "{");
    for (method, path) in
        [(Method::GET, path.as_str()), (Method::POST, CONFIGURATIONS), (Method::PUT, "/%ff"), (Method::POST, "/x")]
    {
        let request = app.anonymous(method.clone(), path).header("content-type", "text/plain").body(wrong);
        assert_eq!(app.answer(request).await.status, StatusCode::UNAUTHORIZED, "{method} {path}");
    }
    // The service does not look for a token in the query, and refuses two Authorization headers.
    let token = issuer.bearer(&issuer.claims());
    let in_query = format!("{CONFIGURATIONS}?access_token={}", token.trim_start_matches("Bearer "));
    assert_eq!(app.answer(app.anonymous(Method::GET, &in_query)).await.status, StatusCode::UNAUTHORIZED);
    let twice =
        app.anonymous(Method::GET, CONFIGURATIONS).header("authorization", &token).header("authorization", &token);
    assert_eq!(app.answer(twice).await.status, StatusCode::UNAUTHORIZED);
}

#[actix_web::test]
async fn tokens_of_entra_id_are_accepted_in_both_versions() {
    let Some(issuer) = issuer() else { return };
    let app = App::start().await;
    let base = issuer.claims();
    let tokens = [
        ("a user, version 1", json!({"scp": format!("{READ} {WRITE}"), "appid": "a", "tid": "t", "ver": "1.0"})),
        ("a user, version 2", json!({"scp": WRITE, "azp": "a", "tid": "t", "ver": "2.0", "roles": ["A.Role"]})),
        ("a user, permissions in an array", json!({"scp": [READ, WRITE]})),
        ("an application", json!({"roles": [READ, WRITE], "appid": "a", "idtyp": "app"})),
        ("several audiences", json!({"aud": ["https://elsewhere.example", NAME]})),
        ("no nbf", json!({"nbf": null})),
        ("times with a fraction", json!({"exp": 9_999_999_999.5, "nbf": 1.5})),
        ("a sub alone", json!({"oid": null, "sub": "somebody"})),
        ("an application's id alone", json!({"oid": null, "azp": "an app"})),
    ];
    for (what, changes) in tokens {
        let mut claims = base.clone();
        for (name, value) in changes.as_object().expect("claims") {
            match value {
                Value::Null => drop(claims.as_object_mut().expect("claims").remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        let body = json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": what});
        // The name of the scheme is case-insensitive.
        let authorization = issuer.bearer(&claims).replacen("Bearer", "bEARER", 1);
        let create = app
            .anonymous(Method::POST, CONFIGURATIONS)
            .header("authorization", authorization)
            .header("content-type", "application/json");
        let created = app.answer(create.body(body.to_string())).await;
        assert_eq!(created.status, StatusCode::CREATED, "{what}: {}", created.text);
    }
    let reader = issuer.with("roles", json!([READ]));
    let read = app.answer(app.anonymous(Method::GET, CONFIGURATIONS).header("authorization", reader)).await;
    assert_eq!(read.status, StatusCode::OK, "{}", read.text);
}

#[actix_web::test]
async fn rows_store_the_callers_that_created_and_changed_them() {
    if is_remote() {
        return;
    }
    let issuer = issuer().expect("an issuer");
    let app = App::start().await;
    let as_user = |oid: &str| {
        let (app, authorization) = (&app, issuer.with("oid", oid));
        async move |method: Method, path: &str, body: Value| {
            let request = app
                .anonymous(method, path)
                .header("authorization", &authorization)
                .header("content-type", "application/json");
            let answer = app.answer(request.body(body.to_string())).await;
            assert!(answer.status.is_success(), "{}", answer.text);
            answer
        }
    };
    let of_configuration = async || {
        sqlx::query_as::<_, (String, String)>("SELECT created_by, last_modified_by FROM device_configurations")
            .fetch_one(app.pool())
            .await
            .expect("one row")
    };
    let of_assignments = async || {
        sqlx::query_as::<_, (String, String, String)>(
            "SELECT group_id, created_by, last_modified_by FROM device_configuration_assignment_overview ORDER BY group_id",
        )
        .fetch_all(app.pool())
        .await
        .expect("rows")
        .into_iter()
        .map(|(group, created, modified)| format!("{group}: {created}, {modified}"))
        .collect::<Vec<_>>()
    };
    let (anna, berta, carla) = (as_user("anna"), as_user("berta"), as_user("carla"));
    let body = json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": "a test"});
    let configuration = format!("{CONFIGURATIONS}/{}", anna(Method::POST, CONFIGURATIONS, body).await.id());
    assert_eq!(of_configuration().await, ("anna".to_owned(), "anna".to_owned()));
    berta(Method::PATCH, &configuration, json!({"displayName": "another"})).await;
    assert_eq!(of_configuration().await, ("anna".to_owned(), "berta".to_owned()));
    carla(Method::PATCH, &configuration, json!({"displayName": "another"})).await;
    assert_eq!(of_configuration().await, ("anna".to_owned(), "berta".to_owned()), "the request changed nothing");

    let assignments = format!("{configuration}/assignments");
    let first = anna(Method::POST, &assignments, group("a")).await.id();
    anna(Method::POST, &assignments, group("b")).await;
    berta(Method::PATCH, &format!("{assignments}/{first}"), group("c")).await;
    assert_eq!(of_assignments().await, ["b: anna, anna", "c: anna, berta"]);
    carla(Method::POST, &format!("{configuration}/assign"), json!({"assignments": [group("b"), group("d")]})).await;
    assert_eq!(of_assignments().await, ["b: anna, anna", "d: carla, carla"]);
    let mut with_intent = group("b");
    with_intent["intent"] = "remove".into();
    let beta = configuration.replacen("/v1.0", "/beta", 1);
    carla(Method::POST, &format!("{beta}/assign"), json!({"assignments": [with_intent]})).await;
    assert_eq!(of_assignments().await, ["b: anna, carla"]);

    let default = app.configuration().await;
    let by: Option<String> = sqlx::query_scalar("SELECT created_by FROM device_configurations WHERE id::text = $1")
        .bind(default.rsplit('/').next())
        .fetch_one(app.pool())
        .await
        .expect("one row");
    assert_eq!(by.as_deref(), Some(OID));
}

#[actix_web::test]
async fn with_authorization_off_no_token_is_needed_and_no_caller_is_stored() {
    if is_remote() {
        return;
    }
    let app = App::start_on(crate::harness::database(true).await, |settings| {
        settings.auth = crate::harness::settings().auth;
    })
    .await;
    let configuration = app.configuration().await;
    let anonymous = app.answer(app.anonymous(Method::GET, &configuration)).await;
    assert_eq!(anonymous.status, StatusCode::OK, "{}", anonymous.text);
    let by: Option<String> = sqlx::query_scalar("SELECT created_by FROM device_configurations")
        .fetch_one(app.pool())
        .await
        .expect("one row");
    assert_eq!(by, None);
}

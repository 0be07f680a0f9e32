//! `$orderby`, `$select`, `$expand`, `$top`, `$skip`, `$count`, and pages.

use std::collections::{BTreeMap, BTreeSet};

use devicegraph::catalogue::{ValueType, version::Version};
use proptest::prelude::*;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    catalogue::{added, concrete},
    filter::encoded,
    harness::{Answer, App, CONFIGURATIONS, beta, database, group, is_remote},
};

async fn create(app: &App, name: &str, description: Option<&str>) -> String {
    let body = json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": name, "description": description});
    let created = app.post(CONFIGURATIONS, &body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    created.id()
}

/// Returns the path of a link, or `None` without a link. The link must have the origin of the app.
fn path(app: &App, link: &Value) -> Option<String> {
    let link = link.as_str()?;
    Some(link.strip_prefix(&app.origin).unwrap_or_else(|| panic!("{link} is of this origin")).to_owned())
}

/// Returns the rows of all pages. Calls `check` with each page.
async fn walk(app: &App, first: &str, mut check: impl FnMut(&Answer)) -> Vec<Value> {
    let (mut rows, mut next) = (Vec::new(), Some(first.to_owned()));
    while let Some(page) = next {
        let answer = app.get(&page).await;
        assert_eq!(answer.status, StatusCode::OK, "{page}: {}", answer.text);
        check(&answer);
        rows.extend(answer.json()["value"].as_array().expect("rows").clone());
        next = path(app, &answer.json()["@odata.nextLink"]);
    }
    rows
}

fn column(rows: &[Value], name: &str) -> Vec<Value> {
    rows.iter().map(|row| row[name].clone()).collect()
}

#[actix_web::test]
async fn rows_are_sorted_by_every_key_nulls_first_and_pages_go_on() {
    let app = App::start().await;
    let mark = Uuid::new_v4();
    let descriptions = [None, Some("b"), Some("a"), Some("b"), None, Some("B"), Some("ä")];
    for (n, description) in descriptions.iter().enumerate() {
        create(&app, &format!("{mark} {}", n % 3), *description).await;
    }
    let filter = format!("$filter={}", encoded(&format!("startswith(displayName,'{mark}')")));
    for (order, sorted) in [
        ("description", json!([null, null, "B", "a", "b", "b", "ä"])),
        ("description desc", json!(["ä", "b", "b", "a", "B", null, null])),
        (
            "displayName desc,description",
            json!([["2", "B"], ["2", "a"], ["1", null], ["1", "b"], ["0", null], ["0", "b"], ["0", "ä"]]),
        ),
        (
            "displayName, description desc",
            json!([["0", "ä"], ["0", "b"], ["0", null], ["1", "b"], ["1", null], ["2", "a"], ["2", "B"]]),
        ),
        (
            "microsoft.graph.iosCustomConfiguration/payloadName,displayName desc",
            json!(["2", "2", "1", "1", "0", "0", "0"]),
        ),
        ("version desc,displayName asc", json!(["0", "0", "0", "1", "1", "2", "2"])),
    ] {
        let url = format!("{CONFIGURATIONS}?{filter}&$orderby={}", encoded(order));
        let all = app.get(&url).await.json()["value"].as_array().expect("rows").clone();
        let last = |row: &Value| row["displayName"].as_str().expect("a name")[37..].to_owned();
        let shown: Vec<Value> = all
            .iter()
            .map(|row| match order {
                "description" | "description desc" => row["description"].clone(),
                _ if order.contains(",description") || order.contains(", description") => {
                    json!([last(row), row["description"]])
                }
                _ => last(row).into(),
            })
            .collect();
        assert_eq!(json!(shown), sorted, "{order}");
        for top in 1..=7 {
            let paged = walk(&app, &format!("{url}&$top={top}"), |page| {
                assert!(page.json()["value"].as_array().is_some_and(|rows| rows.len() <= top));
            })
            .await;
            assert_eq!(paged, all, "{order} by {top}");
        }
        let skipped = walk(&app, &format!("{url}&$skip=2&$top=2"), |_| ()).await;
        assert_eq!(skipped, all[2..], "{order}");
    }
    let refused = [
        ("nothing", "Could not find a property named 'nothing' on type 'microsoft.graph.deviceConfiguration'."),
        ("displayName up", "'displayName' is followed by 'up'. Write asc or desc there,"),
        ("displayName,", "Syntax error at position 1: found the end"),
        ("assignments/any()", "'assignments/any()' is a function or a condition"),
        ("tolower(displayName)", "'tolower(displayName)' is a function or a condition, which cannot be a sort key"),
        ("id,id,id,id,id,id,id,id,id,id,id,id,id,id,id,id,id", "there are more than 16 sort keys."),
        ("assignments", "The property 'assignments' is a collection, and rows cannot be sorted by it."),
    ];
    for (order, expected) in refused {
        let refusal = app.get(&format!("{CONFIGURATIONS}?$orderby={}", encoded(order))).await.refusal();
        assert!(refusal.starts_with(&format!("400 BadRequest: Invalid '$orderby': {expected}")), "{refusal}");
    }
}

#[actix_web::test]
async fn the_page_has_the_size_that_was_asked_and_says_what_it_applied() {
    let app = App::start().await;
    let mark = Uuid::new_v4();
    for n in 0..5 {
        create(&app, &format!("{mark} {n}"), None).await;
    }
    let url = format!("{CONFIGURATIONS}?$filter={}", encoded(&format!("startswith(displayName,'{mark}')")));
    let count = |answer: &Answer| answer.json()["value"].as_array().map(Vec::len);
    let whole = app.get(&url).await;
    assert_eq!(
        (count(&whole), whole.json().get("@odata.nextLink"), whole.json().get("@odata.count")),
        (Some(5), None, None)
    );
    let exact = app.get(&format!("{url}&$top=5&%24count=true")).await;
    assert_eq!((&exact.json()["@odata.count"], exact.json().get("@odata.nextLink")), (&json!(5), None));
    // The link is absolute and repeats the options. The list goes on after `$top` rows.
    let cut = app.get(&format!("{url}&trace=a%26b&$count=true&top=2")).await;
    let link = cut.json()["@odata.nextLink"].as_str().expect("a link").to_owned();
    let next = format!(
        "{}{CONFIGURATIONS}?trace=a%26b&$filter=startswith(displayName,'{mark}')&$count=true&$top=2&$skiptoken=",
        app.origin
    );
    assert!(link.starts_with(&next), "{link}");
    let members: Vec<_> = cut
        .text
        .match_indices("\"@odata.")
        .map(|(at, _)| cut.text[at + 8..].split('"').next().expect("a name"))
        .collect();
    assert_eq!(members[..3], ["context", "count", "nextLink"]);
    for (top, size, has_next) in [
        ("0", 0, false),
        ("3", 3, true),
        ("99999999999", 5, false),
        ("18446744073709551615", 5, false),
        ("99999999999999999999999", 5, false),
    ] {
        let answer = app.get(&format!("{url}&$top={top}&$count=true")).await;
        assert_eq!((count(&answer), answer.json().get("@odata.nextLink").is_some()), (Some(size), has_next), "{top}");
        assert_eq!(answer.json()["@odata.count"], 5);
    }
    let beyond = app.get(&format!("{url}&$skip=7&$count=true")).await;
    assert_eq!((count(&beyond), &beyond.json()["@odata.count"]), (Some(0), &json!(5)));
    for name in ["odata.maxpagesize", "maxpagesize"] {
        let request = app.request(Method::GET, &format!("{url}&$top=4")).header("prefer", format!("{name}=3"));
        let answer = app.answer(request).await;
        assert_eq!((count(&answer), answer.header("preference-applied")), (Some(3), "odata.maxpagesize=3"));
        assert!(answer.json()["@odata.nextLink"].is_string());
    }
    for (option, expected) in [
        ("$top=-1", "The value of '$top' is not a whole number"),
        ("$top=x", "The value of '$top' is not a whole number"),
        ("$top=", "The value of '$top' is not a whole number"),
        ("$skip=1.5", "The value of '$skip' is not a whole number"),
        ("$count=yes", "The value of '$count' is not a Boolean."),
        ("$skiptoken=abc", "The value of '$skiptoken' was not returned by this query."),
        (
            "$skip=1&$skiptoken=abc",
            "The query options '$skip' and '$skiptoken' cannot be combined. Leave one of them out.",
        ),
    ] {
        let refusal = app.get(&format!("{CONFIGURATIONS}?{option}")).await.refusal();
        assert!(refusal.starts_with(&format!("400 BadRequest: {expected}")), "{option}: {refusal}");
    }
    // A token is valid only with its own query, collection and version.
    let link = path(&app, &cut.json()["@odata.nextLink"]).expect("a link");
    let token = link.split("$skiptoken=").nth(1).expect("a token");
    for other in [
        link.replace("$top=2", "$top=3"),
        link.replace("&$count=true", ""),
        link.replace("startswith", "endswith"),
        beta(&link),
        format!("{CONFIGURATIONS}?$skiptoken={token}"),
        format!("{link}&$orderby=displayName"),
        link.replace(token, &token[1..]),
        link.replace(token, &format!("{token}A")),
    ] {
        let refusal = app.get(&other).await.refusal();
        assert!(
            refusal.starts_with("400 BadRequest: The value of '$skiptoken' was not returned by this query."),
            "{other}: {refusal}"
        );
    }
    assert_eq!(
        app.get(&link.replace("trace=a%26b&", "")).await.status,
        StatusCode::OK,
        "custom options are none of the query"
    );
}

#[actix_web::test]
async fn select_chooses_properties_and_expand_adds_the_assignments() {
    let app = App::start().await;
    let mark = Uuid::new_v4();
    let id = create(&app, &format!("{mark}"), None).await;
    let other = create(&app, &format!("{mark} other"), Some("d")).await;
    let one = format!("{CONFIGURATIONS}/{id}");
    for name in ["b", "a", "c"] {
        app.post(&format!("{one}/assignments"), &group(name)).await;
    }
    let filter = format!("$filter={}", encoded(&format!("startswith(displayName,'{mark}')")));
    let listed = app
        .get(&format!("{CONFIGURATIONS}?{filter}&$select=id,displayName&$expand=assignments&$orderby=displayName"))
        .await
        .json();
    let context = format!("{}/v1.0/$metadata#deviceManagement/deviceConfigurations", app.origin);
    assert_eq!(listed["@odata.context"], format!("{context}(id,displayName,assignments())"));
    assert_eq!(
        listed["value"][1],
        json!({
            "@odata.type": "#microsoft.graph.iosCustomConfiguration",
            "id": other,
            "displayName": format!("{mark} other"),
            "assignments@odata.context": format!("{context}('{other}')/microsoft.graph.iosCustomConfiguration/assignments"),
            "assignments": [],
        })
    );
    assert_eq!(listed["value"][0]["assignments"], json!(app.assignments(&one).await));
    // A read of a single entity has the same options and the same answer.
    let alone = app.get(&format!("{one}?$select=id,displayName&$expand=assignments")).await.json();
    assert_eq!(alone["@odata.context"], format!("{context}(id,displayName,assignments())/$entity"));
    assert_eq!(alone["assignments"], listed["value"][0]["assignments"]);
    let nested = "assignments($select=id;$filter=target/microsoft.graph.groupAssignmentTarget/groupId ne 'c';$orderby=target/groupId desc;$top=1;$count=true)";
    for url in
        [format!("{one}?$expand={}", encoded(nested)), format!("{CONFIGURATIONS}?{filter}&$expand={}", encoded(nested))]
    {
        let answer = app.get(&url).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let answer = answer.json();
        let row = answer["value"].as_array().map_or(&answer, |rows| &rows[0]);
        assert_eq!(row["assignments@odata.count"], 2);
        assert_eq!(row["assignments"].as_array().map(Vec::len), Some(1));
        assert_eq!(row["assignments"][0].as_object().map(serde_json::Map::len), Some(2), "the type and the id");
        assert_eq!(
            row["assignments@odata.context"],
            format!("{context}('{id}')/microsoft.graph.iosCustomConfiguration/assignments(id)")
        );
        let rest = walk(&app, &path(&app, &row["assignments@odata.nextLink"]).expect("a link"), |_| ()).await;
        let stored = app.assignments(&one).await;
        let of = |group: &str| {
            stored.iter().find(|row| row["target"]["groupId"] == group).expect("an assignment")["id"].clone()
        };
        assert_eq!((&row["assignments"][0]["id"], column(&rest, "id")), (&of("b"), vec![of("a")]));
        assert_eq!(row["displayName"], format!("{mark}"), "the other members are shown");
    }
    let target = app.get(&format!("{one}/assignments?$select=target&$top=1")).await.json();
    assert_eq!(
        target["value"][0].as_object().map(|row| row.keys().cloned().collect::<Vec<_>>()),
        Some(vec!["@odata.type".to_owned(), "target".to_owned()])
    );
    let assignment = format!("{one}/assignments/{}", app.assignments(&one).await[0]["id"].as_str().expect("an id"));
    let selected = app.get(&format!("{assignment}?$select=id")).await.json();
    assert_eq!(selected["@odata.context"], format!("{context}('{id}')/assignments(id)/$entity"));
    assert!(selected.get("target").is_none() && selected["id"].is_string());
    for top in ["9223372036854775807", "18446744073709551615"] {
        let whole = app.get(&format!("{one}?$expand=assignments($top={top})")).await.json();
        assert_eq!(whole["assignments"].as_array().map(Vec::len), Some(3));
    }
    // The portal of Intune selects a property of one type with a cast.
    let portal = format!(
        "{}?{filter}&$select=id,microsoft.graph.unsupportedDeviceConfiguration/originalEntityTypeName",
        beta(CONFIGURATIONS)
    );
    let body = json!({"@odata.type": "#microsoft.graph.unsupportedDeviceConfiguration", "displayName": format!("{mark}"), "originalEntityTypeName": "x"});
    app.post(&beta(CONFIGURATIONS), &body).await;
    let rows = app.get(&portal).await.json()["value"].as_array().expect("rows").clone();
    assert_eq!(rows.iter().filter(|row| row["originalEntityTypeName"] == "x").count(), 1);
    assert!(app.get(&portal.replace("/beta", "/v1.0")).await.refusal().contains("could not be resolved"));
    for (select, members) in [
        ("displayName,assignments", vec!["displayName"]),
        ("microsoft.graph.iosCustomConfiguration/payloadName", vec!["payloadName"]),
        ("microsoft.graph.windows10CustomConfiguration/omaSettings", vec![]),
        ("payload,version", vec!["version", "payload"]),
    ] {
        let row = app.get(&format!("{one}?$select={}", encoded(select))).await.json();
        let names: Vec<_> = row.as_object().expect("an object").keys().filter(|name| !name.starts_with('@')).collect();
        assert_eq!(names, members, "{select}");
        assert_eq!(row["@odata.type"], "#microsoft.graph.iosCustomConfiguration");
    }
    let all = app.get(&one).await.json();
    let mut star = app.get(&format!("{one}?$select=*")).await.json();
    star["@odata.context"] = all["@odata.context"].clone();
    assert_eq!(star, all);
    for (option, expected) in [
        ("$select=nothing", "Invalid '$select': Could not find a property named 'nothing' on type"),
        ("$select=", "Invalid '$select': Syntax error at position 1"),
        ("$select=omaSettings/omaUri", "Invalid '$select': 'omaSettings/omaUri' is a path and not a property."),
        ("$select=roleScopeTagIds", "Invalid '$select': Could not find a property named 'roleScopeTagIds'"),
        ("$expand=deviceStatuses", "Invalid '$expand': 'deviceStatuses' cannot be expanded. Only 'assignments' can."),
        ("$expand=*", "Invalid '$expand': '*' cannot be expanded"),
        ("$expand=assignments,userStatuses", "Invalid '$expand': 'assignments,userStatuses' cannot be expanded"),
        ("$expand=assignments($expand=x)", "Invalid '$expand': the option '$expand' is not supported in '$expand'."),
        ("$expand=assignments($skip=1)", "Invalid '$expand': the option '$skip' is not supported in '$expand'."),
        (
            "$expand=assignments($filter=x eq 1)",
            "Invalid '$expand': Invalid '$filter': Could not find a property named 'x'",
        ),
        ("$expand=assignments($top=1", "Invalid '$expand': the options of '$expand' have no closing parenthesis"),
    ] {
        let option = option.replace(' ', "%20");
        let refusal = app.get(&format!("{one}?{option}")).await.refusal();
        assert!(refusal.starts_with(&format!("400 BadRequest: {expected}")), "{refusal}");
    }
}

#[actix_web::test]
async fn a_name_of_any_length_is_found_and_paged() {
    let app = App::start().await;
    let mark = Uuid::new_v4();
    let name = |end: &str| format!("{mark}{}{end}", "ü€".repeat(4000));
    for end in ["a", "b", "c"] {
        create(&app, &name(end), None).await;
    }
    let url = |filter: &str| format!("{CONFIGURATIONS}?$select=displayName&$filter={}", encoded(filter));
    let found = app.get(&url(&format!("startswith(displayName,'{mark}') and endswith(displayName,'b')"))).await.json();
    assert_eq!(column(found["value"].as_array().expect("rows"), "displayName"), [name("b")]);
    let long: String = name("").chars().take(700).collect();
    let found = app.get(&url(&format!("startswith(displayName,'{long}') and displayName ne '{long}'"))).await.json();
    assert_eq!(found["value"].as_array().map(Vec::len), Some(3));
    let paged = walk(
        &app,
        &format!("{}&$orderby=displayName%20desc&$top=1", url(&format!("startswith(displayName,'{mark}')"))),
        |_| (),
    )
    .await;
    let names: BTreeSet<_> =
        column(&paged, "displayName").iter().map(|name| name.as_str().map(str::to_owned)).collect();
    assert_eq!((paged.len(), names.len()), (3, 3));
}

#[actix_web::test]
async fn rows_are_sorted_by_every_property() {
    let app = App::start().await;
    let mark = Uuid::new_v4();
    for n in 0..2 {
        create(&app, &format!("{mark} {n}"), Some(&"x".repeat(60_000))).await;
    }
    let filter = format!("$filter={}", encoded(&format!("startswith(displayName,'{mark}')")));
    let mut sorted = 0;
    for of in concrete("deviceConfiguration", Version::Beta) {
        for property in added(of, Version::Beta) {
            if property.is_collection || matches!(property.value_type, ValueType::Complex(_)) {
                continue;
            }
            let url = format!(
                "{}?{filter}&$select=id&$top=1&$orderby=microsoft.graph.{}/{}%20desc",
                beta(CONFIGURATIONS),
                of.name,
                property.name
            );
            let first = app.get(&url).await;
            assert_eq!(first.status, StatusCode::OK, "{url}: {}", first.text);
            let next = path(&app, &first.json()["@odata.nextLink"]).expect("a link");
            assert!(next.len() < 4000, "{}", next.len());
            let second = app.get(&next).await;
            assert_eq!(second.status, StatusCode::OK, "{next}: {}", second.text);
            assert_ne!(first.json()["value"][0]["id"], second.json()["value"][0]["id"]);
            sorted += 1;
        }
    }
    assert!(sorted > 500, "{sorted}");
}

/// A change of another client between two pages.
#[derive(Clone, Debug)]
enum Step {
    Insert(usize),
    Delete(usize),
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn walking_all_pages_gives_each_row_that_was_there_throughout_once(
        names in prop::collection::vec(0_usize..6, 3..12),
        steps in prop::collection::vec(prop_oneof![(0_usize..6).prop_map(Step::Insert), (0_usize..12).prop_map(Step::Delete)], 0..12),
        top in 1_usize..5,
        order in prop::sample::select(vec!["", "&$orderby=displayName", "&$orderby=displayName%20desc", "&$orderby=description,displayName%20desc", "&$orderby=description%20desc", "&$orderby=createdDateTime%20desc", "&$orderby=id%20desc"]),
        select in prop::sample::select(vec!["", "&$select=id", "&$expand=assignments"]),
    ) {
        actix_web::rt::System::new().block_on(async {
            let app = App::start().await;
            let mark = Uuid::new_v4();
            let create = async |n: usize| create(&app, &format!("{mark} {n}"), ["a", "b"].get(n % 3).copied()).await;
            let mut there = Vec::new();
            for n in names {
                there.push(create(n).await);
            }
            let (mut throughout, mut steps): (BTreeSet<String>, _) = (there.iter().cloned().collect(), steps.into_iter());
            let filter = encoded(&format!("startswith(displayName,'{mark}')"));
            let mut next = Some(format!("{CONFIGURATIONS}?$filter={filter}&$top={top}{order}{select}"));
            let mut seen = BTreeMap::new();
            while let Some(page) = next {
                let answer = app.get(&page).await;
                assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
                let answer = answer.json();
                for row in answer["value"].as_array().expect("rows") {
                    *seen.entry(row["id"].as_str().expect("an id").to_owned()).or_insert(0) += 1;
                }
                next = path(&app, &answer["@odata.nextLink"]);
                match steps.next() {
                    Some(Step::Insert(n)) => there.push(create(n).await),
                    Some(Step::Delete(at)) if at < there.len() => {
                        let id = there.remove(at);
                        app.delete(&format!("{CONFIGURATIONS}/{id}")).await;
                        throughout.remove(&id);
                    }
                    _ => {}
                }
            }
            assert!(seen.values().all(|times| *times == 1), "{seen:?}");
            assert!(throughout.iter().all(|id| seen.contains_key(id)), "{throughout:?} {seen:?}");
        });
    }
}

#[actix_web::test]
async fn pages_have_the_sizes_of_the_settings() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, |settings| {
        settings.server.default_page_size = 2;
        settings.server.max_page_size = 3;
    })
    .await;
    let configuration = app.configuration().await;
    for n in 0..7 {
        create(&app, &n.to_string(), None).await;
        app.post(&format!("{configuration}/assignments"), &group(&n.to_string())).await;
    }
    let count = async |path: &str| app.get(path).await.json()["value"].as_array().map(Vec::len);
    for (path, rows) in [(CONFIGURATIONS, 8), (&format!("{configuration}/assignments"), 7)] {
        assert_eq!((count(path).await, count(&format!("{path}?$top=5")).await), (Some(2), Some(3)));
        assert_eq!(walk(&app, path, |_| ()).await.len(), rows);
        assert_eq!(walk(&app, &format!("{path}?$top=1"), |_| ()).await.len(), rows);
    }
    // `$expand` returns all assignments, also more than a page has.
    let expanded = app.get(&format!("{configuration}?$expand=assignments")).await.json();
    assert_eq!(expanded["assignments"].as_array().map(Vec::len), Some(7));
}

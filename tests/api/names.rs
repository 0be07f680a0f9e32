//! Names in queries: letter case, misspelt names, and identifiers with upper-case letters.

use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    filter::encoded,
    harness::{App, CONFIGURATIONS, accept_unknown_types, beta, database, is_remote},
};

/// Creates a configuration with a property of its type, a collection and two assignments. Returns
/// its path.
async fn configuration(app: &App) -> String {
    let body = json!({
        "@odata.type": "#microsoft.graph.windows10CustomConfiguration", "displayName": format!("n {}", Uuid::new_v4()),
        "omaSettings": [{"@odata.type": "#microsoft.graph.omaSettingString", "displayName": "s", "omaUri": "./a", "value": "x"}],
    });
    let created = app.post(CONFIGURATIONS, &body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    let path = format!("{CONFIGURATIONS}/{}", created.id());
    for target in ["allDevicesAssignmentTarget", "allLicensedUsersAssignmentTarget"] {
        let target = json!({"target": {"@odata.type": format!("#microsoft.graph.{target}")}});
        app.post(&format!("{path}/assignments"), &target).await;
    }
    path
}

/// Asserts that two queries of a collection have the same answer.
async fn assert_same(app: &App, path: &str, one: &str, other: &str) {
    let (first, second) = (app.get(&format!("{path}?{one}")).await, app.get(&format!("{path}?{other}")).await);
    assert_eq!(first.status, StatusCode::OK, "{one}: {}", first.text);
    assert_eq!(first.text, second.text, "{one}");
}

#[actix_web::test]
async fn letter_case_does_not_count_in_the_names_of_a_query() {
    let app = App::start().await;
    let path = configuration(&app).await;
    let id = path.rsplit_once('/').expect("an id").1;
    let name = app.get(&path).await.json()["displayName"].as_str().expect("a name").to_owned();
    for (written, spelled) in [
        (format!("$filter=DisplayName eq '{name}'"), format!("$filter=displayName eq '{name}'")),
        (format!("$filter=displayname eq '{name}'"), format!("$filter=displayName eq '{name}'")),
        (
            format!("$filter=ID in ('{id}')&$SELECT=Id,DISPLAYNAME"),
            format!("$filter=id eq '{id}'&$select=id,displayName"),
        ),
        (
            format!("$filter=id eq '{id}'&$orderby=DISPLAYNAME desc,Version&$expand=Assignments"),
            format!("$filter=id eq '{id}'&$orderby=displayName desc,version&$expand=assignments"),
        ),
        (
            format!(
                "$filter=Id eq '{id}'&$expand=ASSIGNMENTS($Select=Id;$Filter=Target/GroupId eq null;$OrderBy=ID desc;$Count=True)"
            ),
            format!(
                "$filter=id eq '{id}'&$expand=assignments($select=id;$filter=target/groupId eq null;$orderby=id desc;$count=true)"
            ),
        ),
        (
            format!("$filter=contains(OmaSettings/any(S:s/OMAURI eq './a') and startswith(DisplayName,'{name}')"),
            String::new(),
        ),
        (
            format!("$filter=OmaSettings/any(S:s/OMAURI eq './a' and $IT/Id eq '{id}')"),
            format!("$filter=omaSettings/any(s:s/omaUri eq './a' and $it/id eq '{id}')"),
        ),
        (
            format!(
                "$filter=Assignments/all(a:A/Target/GroupId eq null) and microsoft.graph.Windows10CustomConfiguration/ID eq '{id}'"
            ),
            format!(
                "$filter=assignments/all(a:a/target/groupId eq null) and microsoft.graph.windows10CustomConfiguration/id eq '{id}'"
            ),
        ),
        (
            format!(
                "$filter=isof('Microsoft.Graph.WINDOWS10CustomConfiguration') and id eq '{id}' and omaSettings/any(o:isof(O,'microsoft.graph.OmaSettingString') and o/microsoft.graph.OMASettingString/Value eq 'x')"
            ),
            format!(
                "$filter=isof('microsoft.graph.windows10CustomConfiguration') and id eq '{id}' and omaSettings/any(o:isof(o,'microsoft.graph.omaSettingString') and o/microsoft.graph.omaSettingString/value eq 'x')"
            ),
        ),
        (
            format!(
                "$filter=id eq '{id}'&$select=microsoft.graph.Windows10CustomConfiguration/OmaSettings,Description"
            ),
            format!(
                "$filter=id eq '{id}'&$select=microsoft.graph.windows10CustomConfiguration/omaSettings,description"
            ),
        ),
    ] {
        for collection in [CONFIGURATIONS.to_owned(), beta(CONFIGURATIONS)] {
            if spelled.is_empty() {
                assert_eq!(app.get(&format!("{collection}?{written}")).await.status, StatusCode::BAD_REQUEST);
                continue;
            }
            assert_same(&app, &collection, &written, &spelled).await;
            let rows = app.get(&format!("{collection}?{written}")).await.json();
            assert_eq!(rows["value"].as_array().map(Vec::len), Some(1), "{written}");
        }
    }
    for (written, spelled) in [
        (
            "$filter=TARGET/microsoft.graph.GroupAssignmentTarget/groupid eq null&$orderby=Id",
            "$filter=target/groupId eq null&$orderby=id",
        ),
        ("$select=Target,ID", "$select=target,id"),
    ] {
        assert_same(&app, &format!("{path}/assignments"), written, spelled).await;
    }
    assert_same(
        &app,
        &path,
        "$select=Id,Assignments&$expand=Assignments($select=Target)",
        "$select=id,assignments&$expand=assignments($select=target)",
    )
    .await;
    // The answer has a type of the path in the spelling of the catalogue.
    let (written, spelled) =
        ("Microsoft.Graph.windows10customconfiguration", "microsoft.graph.windows10CustomConfiguration");
    assert_same(
        &app,
        &format!("{CONFIGURATIONS}/{written}"),
        &format!("$filter=Id eq '{id}'"),
        &format!("$filter=id eq '{id}'"),
    )
    .await;
    let listed = app.get(&format!("{CONFIGURATIONS}/{written}?$filter=id eq '{id}'&$select=Id")).await.json();
    let context = listed["@odata.context"].as_str().expect("a context");
    assert!(context.ends_with(&format!("#deviceManagement/deviceConfigurations/{spelled}(id)")), "{context}");
    assert_eq!(app.get(&format!("{path}/{written}")).await.status, StatusCode::OK);
}

#[actix_web::test]
async fn the_next_page_of_a_query_in_any_letter_case_is_found() {
    let app = App::start().await;
    let mark = Uuid::new_v4();
    for number in 0..3 {
        let body = json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": format!("{mark} {number}")});
        app.post(CONFIGURATIONS, &body).await;
    }
    for path in [CONFIGURATIONS.to_owned(), format!("{CONFIGURATIONS}/microsoft.graph.IosCustomConfiguration")] {
        let filter = encoded(&format!("startswith(DISPLAYNAME,'{mark}')"));
        let mut next =
            Some(format!("{path}?$filter={filter}&$orderby=DisplayName%20desc&$select=Id,DisplayName&$top=1"));
        let mut names = Vec::new();
        while let Some(url) = next {
            let page = app.get(url.trim_start_matches(&app.origin)).await;
            assert_eq!(page.status, StatusCode::OK, "{}", page.text);
            names.extend(page.json()["value"].as_array().expect("rows").iter().map(|row| row["displayName"].clone()));
            next = page.json()["@odata.nextLink"].as_str().map(str::to_owned);
        }
        assert_eq!(names, [2, 1, 0].map(|number| json!(format!("{mark} {number}"))), "{path}");
    }
}

#[actix_web::test]
async fn an_exact_match_wins_and_a_name_that_can_be_several_is_refused() {
    let app = App::start().await;
    for (query, expected) in [
        (
            "$filter=WIFIBLOCKED eq true",
            "Invalid '$filter': The name 'WIFIBLOCKED' is ambiguous: it can be 'wiFiBlocked' or 'wifiBlocked'.",
        ),
        (
            "$orderby=WiFiBlocked",
            "Invalid '$orderby': The name 'WiFiBlocked' is ambiguous: it can be 'wiFiBlocked' or 'wifiBlocked'.",
        ),
        (
            "$select=id,Wifiblocked",
            "Invalid '$select': The name 'Wifiblocked' is ambiguous: it can be 'wiFiBlocked' or 'wifiBlocked'.",
        ),
        (
            "$filter=CellularBlockWifiTethering",
            "Invalid '$filter': The name 'CellularBlockWifiTethering' is ambiguous: it can be 'cellularBlockWiFiTethering' or 'cellularBlockWifiTethering'.",
        ),
        ("$filter=assignments/any(ID:id eq 'x')", ""),
        (
            "$filter=assignments/any(VERSION:Version/id eq 'x')",
            "Invalid '$filter': The name 'Version' is ambiguous: it can be 'VERSION' or 'version'.",
        ),
        (
            "$filter=assignments/any(a:$it/omaSettings/any(A:b/id eq a/id))",
            "Invalid '$filter': Could not find a property named 'b' on type",
        ),
    ] {
        for collection in [CONFIGURATIONS.to_owned(), beta(CONFIGURATIONS)] {
            let answer = app.get(&format!("{collection}?{query}")).await;
            if expected.is_empty() {
                assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
                continue;
            }
            let refusal = answer.refusal();
            assert!(refusal.starts_with(&format!("400 BadRequest: {expected}")), "{query}: {refusal}");
        }
    }
    for query in [
        "$filter=wifiBlocked eq true",
        "$filter=wiFiBlocked eq true",
        "$filter=microsoft.graph.windows10GeneralConfiguration/WIFIBLOCKED eq true",
        "$select=microsoft.graph.windowsPhone81GeneralConfiguration/WIFIBLOCKED",
    ] {
        let answer = app.get(&format!("{CONFIGURATIONS}?{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.text);
    }
}

#[actix_web::test]
async fn a_misspelt_name_is_refused_with_the_nearest_names() {
    let app = App::start().await;
    let id = configuration(&app).await.rsplit_once('/').expect("an id").1.to_owned();
    for (query, expected) in [
        (
            "$filter=displayNam eq 'a'",
            "named 'displayNam' on type 'microsoft.graph.deviceConfiguration'. Did you mean 'displayName'",
        ),
        (
            "$select=id,DisplayNames",
            "named 'DisplayNames' on type 'microsoft.graph.deviceConfiguration'. Did you mean 'displayName'",
        ),
        ("$orderby=lastModfiedDateTime desc", "Did you mean 'lastModifiedDateTime'"),
        ("$filter=asignments/any()", "Did you mean 'assignments'"),
        ("$filter=assignments/any(a:a/target/groupID2 eq 'x')", "Did you mean 'groupId'"),
        ("$expand=assignment", "'assignment' cannot be expanded. Only 'assignments' can."),
        ("$expand=assignments($select=targets)", "Did you mean 'target'"),
        (
            "$filter=isof('microsoft.graph.iosCustomConfigurations')",
            "Did you mean 'microsoft.graph.iosCustomConfiguration'",
        ),
        (
            "$filter=not isof('microsoft.graph.iosUpdatConfiguration')",
            "Did you mean 'microsoft.graph.iosUpdateConfiguration'",
        ),
        (
            "$filter=not isof('microsoft.graph.iosUpdteConfiguraton')",
            "Did you mean 'microsoft.graph.iosUpdateConfiguration'",
        ),
        (
            "$filter=assignments/any(a:not isof(a/target,'microsoft.graph.groupAsignTarget'))",
            "A type named 'microsoft.graph.groupAsignTarget' could not be resolved",
        ),
        (
            "$filter=isof(microsoft.graph.windows10CustomConfigration)",
            "Did you mean 'microsoft.graph.windows10CustomConfiguration'",
        ),
        (
            "$filter=assignments/any(a:isof(a/target,'microsoft.graph.groupAssignmentTargt'))",
            "Did you mean 'microsoft.graph.groupAssignmentTarget'",
        ),
        (
            "$filter=microsoft.graph.iosCustomConfiguraton/payloadName eq 'a'",
            "Did you mean 'microsoft.graph.iosCustomConfiguration'",
        ),
        (
            "$select=id,microsoft.graph.iosCustomConfiguratoin/payloadName",
            "Did you mean 'microsoft.graph.iosCustomConfiguration'",
        ),
        (
            "$orderby=microsoft.graph.iosCustomConfiguratio/payloadName",
            "Did you mean 'microsoft.graph.iosCustomConfiguration'",
        ),
        ("$select=microsoft.graph.unsupportedDeviceConfiguration/displayNames", "Did you mean 'displayName'"),
        ("$filter=isof('iosCustomConfiguration')", "Write 'microsoft.graph.iosCustomConfiguration'."),
        ("$filter=isof(IosCustomConfiguration)", "Write 'microsoft.graph.iosCustomConfiguration'."),
        (
            "$filter=assignments/any(a:isof(a/target,groupAssignmentTarget))",
            "Write 'microsoft.graph.groupAssignmentTarget'.",
        ),
        (
            "$filter=iosCustomConfiguration/payloadName eq 'a'",
            "To name the type, write 'microsoft.graph.iosCustomConfiguration'.",
        ),
        (
            "$select=iosCustomConfiguration/payloadName",
            "To name the type, write 'microsoft.graph.iosCustomConfiguration'.",
        ),
        (
            "$filter=assignments/any(a:a/target/groupAssignmentTarget/groupId eq 'a')",
            "To name the type, write 'microsoft.graph.groupAssignmentTarget'.",
        ),
        (
            "$filter=assignments/any(a:a/Target.groupId eq 'a')",
            "Separate the segments of a path with '/': 'Target/groupId'.",
        ),
    ] {
        for collection in [CONFIGURATIONS.to_owned(), beta(CONFIGURATIONS)] {
            let refusal = app.get(&format!("{collection}?{query}")).await.refusal();
            if collection == CONFIGURATIONS && query.contains("unsupported") {
                assert!(refusal.contains("A type named"), "{refusal}");
                continue;
            }
            assert!(refusal.starts_with("400 BadRequest: Invalid '$"), "{query}: {refusal}");
            assert!(refusal.contains(expected), "{query}: {refusal}");
        }
    }
    let v1 = app.get(&format!("{CONFIGURATIONS}?$select=roleScopeTagIds")).await.refusal();
    assert!(v1.ends_with(" Only /beta has this property."), "{v1}");
    for (path, expected) in [
        ("/microsoft.graph.iosCustomConfigurations".to_owned(), "'microsoft.graph.iosCustomConfiguration'"),
        ("/microsoft.graph.iosCustomConfigurations/$count".to_owned(), "'microsoft.graph.iosCustomConfiguration'"),
        (
            format!("/{id}/microsoft.graph.windows10CustomConfiguratin"),
            "'microsoft.graph.windows10CustomConfiguration'",
        ),
        (
            format!("/microsoft.graph.windows10CustomConfiguratin/{id}"),
            "'microsoft.graph.windows10CustomConfiguration'",
        ),
        (
            format!("/{id}/microsoft.graph.windows10CustomConfiguratin/assignments"),
            "'microsoft.graph.windows10CustomConfiguration'",
        ),
        (format!("/{id}/microsoft.graph.asign"), "'microsoft.graph.assign'"),
    ] {
        for collection in [CONFIGURATIONS.to_owned(), beta(CONFIGURATIONS)] {
            let refusal = app.get(&format!("{collection}{path}")).await.refusal();
            assert!(refusal.starts_with("400 ") && refusal.contains(expected), "{path}: {refusal}");
        }
    }
}

#[actix_web::test]
async fn an_accepted_type_that_the_catalogue_lacks_is_taken_as_it_is_written() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, accept_unknown_types).await;
    let collection = beta(CONFIGURATIONS);
    let mark = Uuid::new_v4().to_string();
    let body = json!({"@odata.type": "#microsoft.graph.unsupportedFutureConfiguration", "displayName": mark, "originalEntityTypeName": "x"});
    assert_eq!(app.post(&collection, &body).await.status, StatusCode::CREATED);
    let rows = async |query: &str| -> Value {
        let answer = app.get(&format!("{collection}?{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.text);
        answer.json()["value"].clone()
    };
    let filter = format!("$filter=DisplayName eq '{mark}'");
    for (name, shown) in [("originalEntityTypeName", true), ("OriginalEntityTypeName", false)] {
        let select = format!("id,microsoft.graph.unsupportedFutureConfiguration/{name}");
        let row = rows(&format!("{filter}&$select={select}")).await[0].clone();
        assert_eq!(row["originalEntityTypeName"] == "x", shown, "{row}");
    }
    let select = "microsoft.graph.unsupportedFutureConfiguration/DisplayName";
    assert_eq!(rows(&format!("{filter}&$select={select}")).await[0]["displayName"], json!(mark));
    for (of, count) in [("unsupportedFutureConfiguration", 1), ("windowsFutureConfiguration", 0)] {
        let found = rows(&format!("{filter} and isof('microsoft.graph.{of}')")).await;
        assert_eq!(found.as_array().map(Vec::len), Some(count), "{of}");
    }
}

#[actix_web::test]
async fn an_identifier_is_found_in_any_letter_case_of_a_guid() {
    let app = App::start().await;
    let [group, other, collection, filter, source] = std::array::from_fn(|_| Uuid::new_v4());
    let upper = |id: &Uuid| id.to_string().to_uppercase();
    let path = beta(&app.configuration().await);
    let id = path.rsplit_once('/').expect("an id").1.to_owned();
    for body in [
        json!({"source": "policySets", "sourceId": source, "target": {
            "@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": upper(&group),
            "deviceAndAppManagementAssignmentFilterId": upper(&filter), "deviceAndAppManagementAssignmentFilterType": "include",
        }}),
        json!({"target": {"@odata.type": "#microsoft.graph.configurationManagerCollectionAssignmentTarget", "collectionId": upper(&collection)}}),
    ] {
        let created = app.post(&format!("{path}/assignments"), &body).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    }
    let group_id = "target/microsoft.graph.groupAssignmentTarget/groupId";
    for spelled in [upper(&group), group.to_string(), group.to_string().replace('a', "A")] {
        for (condition, count) in [
            (format!("{group_id} eq '{spelled}'"), 1),
            (format!("'{spelled}' eq {group_id}"), 1),
            (format!("target/groupId in ('{}','{spelled}')", upper(&other)), 1),
            (format!("{group_id} ne '{spelled}'"), 1),
            (format!("not ({group_id} eq '{spelled}')"), 1),
            (format!("contains(target/groupId,'{spelled}')"), 1),
            (format!("startswith(target/groupId,'{spelled}')"), 1),
            (format!("target/groupId eq '{spelled}x'"), 0),
        ] {
            let answer = app.get(&format!("{path}/assignments?$filter={}", encoded(&condition))).await;
            assert_eq!(answer.json()["value"].as_array().map(Vec::len), Some(count), "{condition}: {}", answer.text);
        }
        let search = format!("id eq '{id}' and assignments/any(a:a/{group_id} eq '{spelled}')");
        for all in [CONFIGURATIONS.to_owned(), beta(CONFIGURATIONS)] {
            let answer = app.get(&format!("{all}?$filter={}", encoded(&search))).await;
            assert_eq!(answer.json()["value"].as_array().map(Vec::len), Some(1), "{search}: {}", answer.text);
        }
    }
    for (member, value) in [
        ("target/collectionId", &collection),
        ("target/deviceAndAppManagementAssignmentFilterId", &filter),
        ("sourceId", &source),
    ] {
        for condition in [format!("{member} eq '{}'", upper(value)), format!("{member} in ('{}')", upper(value))] {
            let answer = app.get(&format!("{path}/assignments?$filter={}", encoded(&condition))).await;
            assert_eq!(answer.json()["value"].as_array().map(Vec::len), Some(1), "{condition}: {}", answer.text);
        }
    }
    // A property that is no identifier is compared with its letter case.
    let name = json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": upper(&group)});
    app.post(CONFIGURATIONS, &name).await;
    for (text, count) in [(upper(&group), 1), (group.to_string(), 0)] {
        let answer = app.get(&format!("{CONFIGURATIONS}?$filter=displayName eq '{text}'")).await;
        assert_eq!(answer.json()["value"].as_array().map(Vec::len), Some(count));
    }
}

#[actix_web::test]
async fn a_refusal_of_a_query_says_what_to_write_instead() {
    let app = App::start().await;
    for (query, expected) in [
        ("$filter=displayName eq \"a\"", "write a text in single quotes, as in 'a'"),
        ("$filter=displayName == 'a'", "write 'eq' instead of '=='. Near: displayName ▶== 'a'"),
        ("$filter=displayName = 'a'", "write 'eq' instead of '='"),
        (
            "$expand=assignments($filter=id == 'a')",
            "Invalid '$expand': Invalid '$filter': Syntax error at position 4: write 'eq' instead of '=='",
        ),
        (
            "$filter=assignments/target/groupId eq 'a'",
            "Test its elements with any or all, as in 'assignments/any(a:a/target/groupId eq …)'.",
        ),
        ("$filter=Assignments/id eq 'a'", "as in 'Assignments/any(a:a/id eq …)'."),
        ("$filter=omaSettings/omaUri eq 'a'", "as in 'omaSettings/any(o:o/omaUri eq …)'."),
        ("$filter=isof(assignments,'microsoft.graph.x')", "as in 'assignments/any(a:a/… eq …)'."),
        ("$filter=displayName eq Test", "Write a text in single quotes, as in 'Test'."),
        ("$filter=automaticUpdateMode eq userDefined", "Write a text in single quotes, as in 'userDefined'."),
        ("$filter=assignments/any(a:a/GroupID eq 'x')", "Write 'target/groupId'."),
        ("$filter=displayName eq {a}", "Syntax error at position 16: '{' is not allowed here."),
        (
            "$orderby=assignments/target/groupId",
            "The property 'assignments' is a collection, and rows cannot be sorted by it.",
        ),
        (
            "$filter=displayName eq 'a' && version eq 1",
            "The query option 'version eq 1' has a space in its name. An unencoded '&' begins a new option. Write 'and'",
        ),
        ("$filter=displayName eq 'a & b'", "and '%26' for '&' inside a text."),
        ("$filer=displayName eq 'a'", "The query option '$filer' is not supported here. Did you mean '$filter'?"),
        ("$Selct=id", "The query option '$Selct' is not supported here. Did you mean '$select'?"),
        ("$order=id", "The query option '$order' is not supported here."),
        ("$nothing=id", "The query option '$nothing' is not supported here. Leave it out."),
        ("$search=a", "The query option '$search' is not supported here. This path supports $count, $expand, $filter,"),
    ] {
        let refusal = app.get(&format!("{CONFIGURATIONS}?{query}")).await.refusal();
        assert!(refusal.starts_with("400 BadRequest: ") && refusal.contains(expected), "{query}: {refusal}");
    }
    let tags = app.get(&format!("{}?$filter=roleScopeTagIds eq '0'", beta(CONFIGURATIONS))).await.refusal();
    assert!(tags.ends_with("as in 'roleScopeTagIds/any(r:r eq …)'."), "{tags}");
    let one = app.configuration().await;
    let refusal = app.get(&format!("{one}?$top=1")).await.refusal();
    assert_eq!(
        refusal,
        "400 BadRequest: The query option '$top' is not supported here. This path supports $expand and $select."
    );
    let refusal = app.delete(&format!("{one}?$select=id")).await.refusal();
    assert_eq!(
        refusal,
        "400 BadRequest: The query option '$select' is not supported here. This path supports no query options."
    );
}

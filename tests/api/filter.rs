//! `$filter` over rows of many types: the rows that match, and the filters that are refused.

use devicegraph::{
    catalogue::version::Version,
    odata::{
        options::Options,
        query::{Query, QueryScope},
    },
    resources::configurations::sql::TABLE,
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{App, CONFIGURATIONS, beta, group};

/// Returns a text as a part of a URL's query.
pub(crate) fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Creates rows whose names begin with a mark, and returns the mark. Other tests may use the same
/// store.
async fn rows(app: &App) -> String {
    let mark = uuid::Uuid::new_v4().to_string();
    let of = |name: &str| format!("#microsoft.graph.{name}");
    for (name, mut body) in [
        (
            "custom",
            json!({"@odata.type": of("windows10CustomConfiguration"), "description": "one", "omaSettings": [
                {"@odata.type": of("omaSettingString"), "displayName": "s", "omaUri": "./a", "value": "x"},
                {"@odata.type": of("omaSettingInteger"), "displayName": "i", "omaUri": "./b", "value": 7},
            ]}),
        ),
        ("bare", json!({"@odata.type": of("windows10CustomConfiguration")})),
        ("ios", json!({"@odata.type": of("iosCustomConfiguration"), "payloadName": "Grüße, 100%", "payload": "AAEC"})),
        (
            "ios_device",
            json!({"@odata.type": of("iosGeneralDeviceConfiguration"), "passcodeMinimumLength": 8, "passcodeRequired": true,
            "appsSingleAppModeList": [{"name": "n", "appId": "id"}]}),
        ),
        (
            "update",
            json!({"@odata.type": of("windowsUpdateForBusinessConfiguration"), "updateWeeks": "firstWeek,thirdWeek",
                "qualityUpdatesPauseExpiryDateTime": "2026-03-01T00:00:00.1234567Z", "automaticUpdateMode": "notifyDownload",
                "installationSchedule": {"@odata.type": of("windowsUpdateActiveHoursInstall"), "activeHoursStart": "08:00:00"}}),
        ),
        ("update_bare", json!({"@odata.type": of("windowsUpdateForBusinessConfiguration"), "description": "it's"})),
    ] {
        body["displayName"] = format!("{mark} {name}").into();
        let created = app.post(CONFIGURATIONS, &body).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
        let assignments = format!("{CONFIGURATIONS}/{}/assignments", created.id());
        match name {
            "custom" => {
                app.post(&assignments, &group(&format!("{mark}-g"))).await;
                let excluded =
                    json!({"target": {"@odata.type": of("exclusionGroupAssignmentTarget"), "groupId": "other"}});
                app.post(&assignments, &excluded).await;
            }
            "ios" => {
                let all = json!({"target": {"@odata.type": of("allDevicesAssignmentTarget")}});
                app.post(&beta(&assignments), &all).await;
            }
            _ => {}
        }
    }
    mark
}

/// Returns the names of the rows that match a filter, sorted.
async fn names(app: &App, collection: &str, mark: &str, filter: &str) -> Vec<String> {
    let all = encoded(&format!("startswith(displayName,'{mark}') and ({filter})"));
    let answer = app.get(&format!("{collection}?$filter={all}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{filter}: {}", answer.text);
    let rows = answer.json()["value"].as_array().expect("rows").clone();
    let name = |row: &Value| row["displayName"].as_str().expect("a name")[mark.len() + 1..].to_owned();
    let mut names: Vec<_> = rows.iter().map(name).collect();
    names.sort();
    // `$count` equals the number of listed rows.
    let count = app.get(&format!("{collection}/$count?$filter={all}")).await;
    assert_eq!((count.status, count.text), (StatusCode::OK, names.len().to_string()), "{filter}");
    names
}

#[actix_web::test]
async fn a_filter_returns_the_rows_that_match() {
    let app = App::start().await;
    let mark = rows(&app).await;
    const ALL: &[&str] = &["bare", "custom", "ios", "ios_device", "update", "update_bare"];
    let named = |name: &str| format!("displayName eq '{mark} {name}'");
    for (filter, expected) in [
        (named("ios"), &["ios"] as &[&str]),
        (format!("'{mark} ios' eq displayName"), &["ios"]),
        (named("ios").replace("eq", "ne"), &["bare", "custom", "ios_device", "update", "update_bare"]),
        (format!("displayName gt '{mark} ios'"), &["ios_device", "update", "update_bare"]),
        (format!("displayName ge '{mark} ios' and displayName lt '{mark} update'"), &["ios", "ios_device"]),
        (format!("displayName le '{mark} custom'"), &["bare", "custom"]),
        (format!("displayName in ('{mark} ios','{mark} bare','x')"), &["bare", "ios"]),
        (format!("not (displayName in ('{mark} ios','{mark} bare'))"), &["custom", "ios_device", "update", "update_bare"]),
        (format!("({} or {}) and not {}", named("ios"), named("bare"), named("ios")), &["bare"]),
        ("endswith(displayName,'bare')".to_owned(), &["bare", "update_bare"]),
        ("contains(displayName,'os_d')".to_owned(), &["ios_device"]),
        ("contains(displayName,'%') or contains(displayName,'_')".to_owned(), &["ios_device", "update_bare"]),
        (format!("startswith(displayName,'{mark} ios_')"), &["ios_device"]),
        (format!("startswith(toupper(displayName),toupper('{mark} IOS'))"), &["ios", "ios_device"]),
        (format!("length(displayName) eq {}", mark.len() + 4), &["ios"]),
        // A comparison with null is true or false, and a function of null is null.
        ("description eq null".to_owned(), &["bare", "ios", "ios_device", "update"]),
        ("description ne null".to_owned(), &["custom", "update_bare"]),
        ("description ne 'one'".to_owned(), &["bare", "ios", "ios_device", "update", "update_bare"]),
        ("not (description eq 'one')".to_owned(), &["bare", "ios", "ios_device", "update", "update_bare"]),
        ("not (description gt 'a')".to_owned(), &["bare", "ios", "ios_device", "update"]),
        ("not contains(description,'n')".to_owned(), &["update_bare"]),
        ("description in (null,'it''s')".to_owned(), &["bare", "ios", "ios_device", "update", "update_bare"]),
        ("description eq 'it''s'".to_owned(), &["update_bare"]),
        ("contains(description,'n') eq true".to_owned(), &["custom"]),
        ("version eq 1 and version lt 1.5 and version in (1,2)".to_owned(), ALL),
        ("version ge 2 or null eq 1".to_owned(), &[]),
        ("createdDateTime ge 2026-01-01T00:00:00Z and createdDateTime eq lastModifiedDateTime".to_owned(), ALL),
        ("createdDateTime lt 2026-01-01T00:00:00.1234567+01:00".to_owned(), &[]),
        ("createdDateTime ne 2026-01-01T00:00:00.1234567Z".to_owned(), ALL),
        ("id eq 'x' or id gt 'zz'".to_owned(), &[]),
        ("id ne 'x'".to_owned(), ALL),
        ("startswith(id,'0')".to_owned(), ALL),
        ("not (microsoft.graph.iosCustomConfiguration/id in ('x'))".to_owned(), ALL),
        ("endswith(displayName,tolower(displayName)) and startswith(tolower(displayName),toupper(displayName)) or contains(toupper(displayName),displayName)".to_owned(), &[]),
        ("(version eq 1) in (true,true) and version in (1,null)".to_owned(), ALL),
        ("not (microsoft.graph.iosGeneralDeviceConfiguration/passcodeMinimumLength in (8,9))".to_owned(), &["bare", "custom", "ios", "update", "update_bare"]),
        ("isof('microsoft.graph.windows10CustomConfiguration')".to_owned(), &["bare", "custom"]),
        ("isof(microsoft.graph.deviceConfiguration)".to_owned(), ALL),
        ("not isof('#microsoft.graph.iosCustomConfiguration')".to_owned(), &["bare", "custom", "ios_device", "update", "update_bare"]),
        ("microsoft.graph.iosCustomConfiguration/payloadName eq 'Grüße, 100%'".to_owned(), &["ios"]),
        ("microsoft.graph.iosCustomConfiguration/payloadName ne 'x'".to_owned(), ALL),
        ("tolower(microsoft.graph.iosCustomConfiguration/payloadName) eq 'grüße, 100%'".to_owned(), &["ios"]),
        ("payloadName eq null".to_owned(), &["bare", "custom", "ios_device", "update", "update_bare"]),
        ("microsoft.graph.iosCustomConfiguration/payload eq binary'AAEC'".to_owned(), &["ios"]),
        // A property that was never set has its default, if the type has the property.
        ("microsoft.graph.iosGeneralDeviceConfiguration/passcodeRequired".to_owned(), &["ios_device"]),
        ("microsoft.graph.iosGeneralDeviceConfiguration/gameCenterBlocked eq false".to_owned(), &["ios_device"]),
        ("passcodeMinimumLength gt 7".to_owned(), &["ios_device"]),
        ("microsoft.graph.windowsUpdateForBusinessConfiguration/automaticUpdateMode eq 'notifyDownload'".to_owned(), &["update"]),
        ("automaticUpdateMode eq microsoft.graph.automaticUpdateMode'userDefined'".to_owned(), &["update_bare"]),
        ("automaticUpdateMode in ('userDefined','notifyDownload')".to_owned(), &["update", "update_bare"]),
        ("updateWeeks has microsoft.graph.windowsUpdateForBusinessUpdateWeeks'firstWeek'".to_owned(), &["update"]),
        ("updateWeeks has 'firstWeek,secondWeek'".to_owned(), &[]),
        ("updateWeeks eq 'thirdWeek,firstWeek'".to_owned(), &["update"]),
        ("qualityUpdatesPauseExpiryDateTime eq 2026-03-01T01:00:00.1234567+01:00".to_owned(), &["update"]),
        ("qualityUpdatesPauseExpiryDateTime gt 2026-03-01T00:00:00.12Z".to_owned(), &["update"]),
        ("qualityUpdatesPauseExpiryDateTime lt 2026-03-01T00:00:00Z".to_owned(), &["update_bare"]),
        ("qualityUpdatesPauseExpiryDateTime gt createdDateTime".to_owned(), &[]),
        ("installationSchedule/microsoft.graph.windowsUpdateActiveHoursInstall/activeHoursStart eq 08:00:00".to_owned(), &["update"]),
        ("installationSchedule/microsoft.graph.windowsUpdateActiveHoursInstall/activeHoursEnd lt 00:00:01".to_owned(), &["update"]),
        ("isof(installationSchedule,'microsoft.graph.windowsUpdateScheduledInstall')".to_owned(), &[]),
        ("omaSettings/any()".to_owned(), &["custom"]),
        ("omaSettings/any(o:o/omaUri eq './a')".to_owned(), &["custom"]),
        ("omaSettings/any(o:isof(o,'microsoft.graph.omaSettingInteger') and o/microsoft.graph.omaSettingInteger/value eq 7)".to_owned(), &["custom"]),
        ("omaSettings/all(o:startswith(o/omaUri,'./'))".to_owned(), ALL),
        ("omaSettings/all(o:o/omaUri eq './a')".to_owned(), &["bare", "ios", "ios_device", "update", "update_bare"]),
        ("microsoft.graph.windows10CustomConfiguration/omaSettings/any(o:o/description eq null and $it/description eq 'one')".to_owned(), &["custom"]),
        ("appsSingleAppModeList/any(a:a/name eq 'n' and a/publisher eq null)".to_owned(), &["ios_device"]),
        (format!("assignments/any(a:a/target/microsoft.graph.groupAssignmentTarget/groupId eq '{mark}-g')"), &["custom"]),
        ("assignments/any(a:a/target/microsoft.graph.exclusionGroupAssignmentTarget/groupId eq 'other')".to_owned(), &["custom"]),
        ("assignments/any(a:isof(a/target,'microsoft.graph.allDevicesAssignmentTarget'))".to_owned(), &["ios"]),
        ("assignments/any(x:$it/assignments/any(y:x/id ne y/id))".to_owned(), &["custom"]),
        ("assignments/all(x:$it/assignments/all(y:x/id eq y/id))".to_owned(), &["bare", "ios", "ios_device", "update", "update_bare"]),
        ("not startswith(microsoft.graph.iosCustomConfiguration/displayName,'q')".to_owned(), &["ios"]),
        ("createdDateTime gt 2026-01-01T00:00:00.1234567Z and 2026-01-01T00:00:00.1234567Z le createdDateTime".to_owned(), ALL),
        ("2026-01-01T00:00:00.1234567Z lt 2026-01-01T00:00:00.1234568Z".to_owned(), ALL),
        (format!("'{mark} ios' lt displayName"), &["ios_device", "update", "update_bare"]),
        ("not assignments/any()".to_owned(), &["bare", "ios_device", "update", "update_bare"]),
        ("assignments/all(a:a/target/groupId ne 'other')".to_owned(), &["bare", "ios", "ios_device", "update", "update_bare"]),
    ] {
        for collection in [CONFIGURATIONS.to_owned(), beta(CONFIGURATIONS)] {
            assert_eq!(names(&app, &collection, &mark, &filter).await, expected, "{collection} {filter}");
        }
    }
    let beta = beta(CONFIGURATIONS);
    for (filter, expected) in [
        (
            "assignments/any(a:a/intent eq 'apply' and a/source eq microsoft.graph.deviceAndAppManagementAssignmentSource'direct')",
            &["custom", "ios"] as &[&str],
        ),
        ("assignments/any(a:a/sourceId eq $it/id)", &["custom", "ios"]),
        ("assignments/any(a:a/target/deviceAndAppManagementAssignmentFilterType ne 'none')", &[]),
        ("supportsScopeTags", ALL),
        // Casts, null, two literals, and a collection without a match.
        ("microsoft.graph.windowsKioskConfiguration/displayName gt null", &[]),
        ("version gt null", &[]),
        ("1 eq 1", ALL),
        ("'a' eq 'a'", ALL),
        ("2026-01-01T00:00:00Z eq 2026-01-01T00:00:00Z", ALL),
        ("roleScopeTagIds/any(r:r eq '0')", &[]),
        ("isof('microsoft.graph.windowsKioskConfiguration')", &[]),
    ] {
        assert_eq!(names(&app, &beta, &mark, filter).await, expected, "{filter}");
    }
}

#[actix_web::test]
async fn assignments_are_filtered_by_their_own_properties() {
    let app = App::start().await;
    let mark = rows(&app).await;
    let found =
        app.get(&format!("{CONFIGURATIONS}?$filter={}", encoded(&format!("displayName eq '{mark} custom'")))).await;
    let id = found.json()["value"][0]["id"].as_str().expect("an id").to_owned();
    let assignments = format!("{CONFIGURATIONS}/{id}/assignments");
    for (filter, expected) in [
        (format!("target/microsoft.graph.groupAssignmentTarget/groupId eq '{mark}-g'"), 1),
        ("isof(target,'microsoft.graph.exclusionGroupAssignmentTarget')".to_owned(), 1),
        ("isof(target,'microsoft.graph.groupAssignmentTarget')".to_owned(), 2),
        ("not isof(target,'microsoft.graph.groupAssignmentTarget')".to_owned(), 0),
        ("id ne null".to_owned(), 2),
    ] {
        let answer = app.get(&format!("{assignments}?$count=true&$filter={}", encoded(&filter))).await;
        assert_eq!(answer.json()["@odata.count"], expected, "{filter}: {}", answer.text);
        let count = app.get(&format!("{assignments}/$count?$filter={}", encoded(&filter))).await;
        assert_eq!((count.text.as_str(), count.header("content-type")), (expected.to_string().as_str(), "text/plain"));
    }
    let refusal = app.get(&format!("{CONFIGURATIONS}/{}/assignments/$count", uuid::Uuid::new_v4())).await.refusal();
    assert!(refusal.starts_with("404 ResourceNotFound: DeviceConfigurations not found"), "{refusal}");
}

#[actix_web::test]
async fn a_filter_that_cannot_be_evaluated_is_refused_with_the_reason() {
    let app = App::start().await;
    for (filter, expected) in [
        ("nothing eq 1", "Could not find a property named 'nothing' on type 'microsoft.graph.deviceConfiguration'."),
        ("displayNames eq 'a'", "Could not find a property named 'displayNames' on type"),
        ("assignment/any()", "Could not find a property named 'assignment' on type"),
        (
            "displayName eq 1",
            "The literal 1 cannot be compared with 'displayName' of type Edm.String. Write a text in single quotes",
        ),
        (
            "version eq '1'",
            "The literal '1' cannot be compared with 'version' of type Edm.Int32. Write a number without quotes.",
        ),
        ("version in (1,'1')", "The literal '1' cannot be compared with 'version' of type Edm.Int32."),
        (
            "createdDateTime gt '2026-01-01T00:00:00Z'",
            "The literal '[time]' cannot be compared with 'createdDateTime' of type Edm.DateTimeOffset. Write a time without quotes",
        ),
        (
            "createdDateTime gt 2026-01-01",
            "The literal 2026-01-01 cannot be compared with 'createdDateTime' of type Edm.DateTimeOffset.",
        ),
        (
            "displayName eq version",
            "'displayName' of type Edm.String cannot be compared with 'version' of type Edm.Int32.",
        ),
        ("displayName", "The value 'displayName' is of type Edm.String and not a condition."),
        ("'a'", "The value ''a'' is of type Edm.String and not a condition."),
        (
            "contains(version,'1')",
            "The arguments of the function 'contains' must be texts (Edm.String), and 'version' is of type Edm.Int32.",
        ),
        (
            "automaticUpdateMode eq 'x'",
            "The value 'x' is not a member of the type of 'automaticUpdateMode', microsoft.graph.automaticUpdateMode. Write one of these: userDefined, ",
        ),
        (
            "automaticUpdateMode eq microsoft.graph.edgeCookiePolicy'allow'",
            "The literal microsoft.graph.edgeCookiePolicy'allow' cannot be compared with 'automaticUpdateMode' of type microsoft.graph.automaticUpdateMode.",
        ),
        ("automaticUpdateMode gt 'userDefined'", "Values of type microsoft.graph.automaticUpdateMode have no order"),
        (
            "automaticUpdateMode has 'userDefined'",
            "The operator 'has' needs a property with a flags type and a literal such as microsoft.graph.type'…', and 'automaticUpdateMode' is of type microsoft.graph.automaticUpdateMode.",
        ),
        (
            "microsoft.graph.iosCustomConfiguration/omaSettings/any()",
            "Could not find a property named 'omaSettings' on type 'microsoft.graph.iosCustomConfiguration'.",
        ),
        (
            "microsoft.graph.nothing/a eq 1",
            "A type named 'microsoft.graph.nothing' could not be resolved by the model.",
        ),
        (
            "isof('microsoft.graph.omaSetting')",
            "An entry with type 'microsoft.graph.omaSetting' was found, but it is not assignable",
        ),
        (
            "passwordRequiredType eq 'any'",
            "The property 'passwordRequiredType' has different types in different types of configurations. Write the type of the configuration before the property: ",
        ),
        (
            "omaSettings eq null",
            "The property 'omaSettings' is a collection. Test its elements with any or all, as in 'omaSettings/any(o:o/… eq …)'.",
        ),
        ("displayName/any()", "'displayName/any()' uses any or all on a value that is not a collection."),
        ("displayName/x eq 1", "'x' in 'displayName/x' follows a value that has no properties."),
        (
            "installationSchedule eq null",
            "The property 'installationSchedule' is an object of type 'microsoft.graph.windowsUpdateInstallScheduleType'. Name a property of it.",
        ),
        (
            "assignments/any(a:a/nothing eq 1)",
            "Could not find a property named 'nothing' on type 'microsoft.graph.deviceConfigurationAssignment'.",
        ),
        ("assignments/any(a:a/intent eq 'apply')", "Could not find a property named 'intent' on type"),
        ("assignments/any(a:b/id eq 'x')", "Could not find a property named 'b' on type"),
        ("displayName eq", "Syntax error at position 15: found the end, expected"),
        ("displayName add 1 eq 2", "Syntax error at position 13: the operator 'add' is not supported."),
        ("now() gt createdDateTime", "Syntax error at position 1: the function 'now' is not supported;"),
        ("displayName eq 'a\0'", "Syntax error at position 18: the character NUL"),
        (
            "omaSettings/any(a:$it/omaSettings/any(b:$it/omaSettings/any()))",
            "'$it/omaSettings/any()' nests any and all more than",
        ),
        (
            "createdDateTime gt 2026-01-01T00:00:00.12345678Z",
            "The literal 2026-01-01T00:00:00.12345678Z cannot be compared",
        ),
        ("", "Syntax error at position 1: found the end"),
    ] {
        let refusal = app.get(&format!("{CONFIGURATIONS}?$filter={}", encoded(filter))).await.refusal();
        let expected = format!("400 BadRequest: Invalid '$filter': {expected}");
        assert!(refusal.starts_with(&expected), "{filter}: {refusal}");
    }
}

proptest! {
    #[test]
    fn no_literal_of_a_client_is_in_the_text_of_a_statement(
        mark in "[g-z]{12}",
        number in 100_000_000..999_999_999_i32,
        template in prop::sample::select(vec![
            "displayName eq '#'", "'#' lt displayName", "description ne '#'", "displayName in ('#','x')", "id eq '#'", "id in ('#')",
            "startswith(displayName,'#')", "startswith(description,'#''%_')", "endswith(displayName,'#')", "contains(tolower(displayName),'#')",
            "payloadName eq '#'", "microsoft.graph.iosCustomConfiguration/payloadName eq '#'", "version gt $", "version in ($,1)",
            "omaSettings/any(o:o/omaUri eq '#')", "assignments/all(a:a/target/groupId ne '#')", "assignments/any(#:#/id ne null)",
            "createdDateTime gt 2026-01-01T00:00:00.1234567Z and displayName ne '#'", "microsoft.graph.#/displayName eq 'x'", "isof('microsoft.graph.#')",
            "microsoft.graph.iosCustomConfiguration/payload eq binary'#'", "'#' eq '#'", "not (length('#') eq $)",
        ]),
    ) {
        let filter = template.replace('#', &mark).replace('$', &number.to_string());
        let options = Options::parse(&format!("$filter={0}&$expand=assignments($filter=target/groupId%20eq%20'{mark}')", encoded(&filter))).expect("options");
        let all = QueryScope::all();
        let query = Query::parse(options, &TABLE, &all, Version::OpenBeta).map_err(|refusal| format!("{filter}: {refusal}")).expect("a query");
        let text = query.text(&all).expect("a statement");
        prop_assert!(!text.contains(&mark) && !text.contains(&number.to_string()), "{}", text);
    }
}

#[test]
fn the_statement_of_nested_lists_does_not_repeat_their_values() {
    let many = vec!["true"; 1000].join(",");
    let filter = (0..3).fold("version eq 1".to_owned(), |inner, _| format!("({inner}) in ({many})"));
    let options = Options::parse(&format!("$filter={}", encoded(&filter))).expect("options");
    let all = QueryScope::all();
    let query = Query::parse(options, &TABLE, &all, Version::V1).expect("a query");
    assert!(query.text(&all).expect("a statement").len() < 40_000);
}

#[actix_web::test]
async fn a_long_chain_of_operators_is_not_nested() {
    let app = App::start().await;
    for (term, sign) in [("true", " or "), ("true", " and "), ("a", " or "), ("not true", " and ")] {
        let chain = vec![term; 16 * 1024 / (term.len() + sign.len())].join(sign);
        let answer = app.get(&format!("{CONFIGURATIONS}?$top=1&$filter={}", chain.replace(' ', "+"))).await;
        let expected = if term == "a" { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        assert_eq!(answer.status, expected, "{}", answer.text);
        let expand = format!("{CONFIGURATIONS}?$top=1&$expand=assignments($filter={})", chain.replace(' ', "+"));
        assert_eq!(app.get(&expand).await.status, expected);
    }
}

#[test]
fn no_filter_is_ever_a_server_error() {
    actix_web::rt::System::new().block_on(async {
        let app = App::start().await;
        let mut runner = TestRunner::deterministic();
        let part = prop::sample::select(vec![
            "displayName",
            "id",
            "version",
            "createdDateTime",
            "description",
            "omaSettings",
            "assignments",
            "updateWeeks",
            "automaticUpdateMode",
            "microsoft.graph.iosCustomConfiguration",
            "payloadName",
            "o",
            "a",
            "/",
            "/any(o:o/",
            "/any(",
            "/all(a:",
            "target",
            "groupId",
            " eq ",
            " ne ",
            " gt ",
            " has ",
            " in ('a','b')",
            " and ",
            " or ",
            "not ",
            "(",
            ")",
            ",",
            "'a'",
            "''",
            "1",
            "-1e400",
            "null",
            "true",
            "2026-01-01T00:00:00Z",
            "contains(",
            "tolower(",
            "length(",
            "startswith(",
            "isof(",
            "$it",
            "\\",
            "%",
            "\"",
            ";",
            "--",
            "binary'A'",
        ]);
        let filter = prop_oneof![prop::collection::vec(part, 1..14).prop_map(|parts| parts.concat()), "\\PC{0,40}",];
        for _ in 0..1500 {
            let filter = filter.new_tree(&mut runner).expect("a filter").current();
            for option in ["$filter", "$orderby", "$select", "$expand", "$skiptoken"] {
                let answer = app.get(&format!("{CONFIGURATIONS}?{option}={}", encoded(&filter))).await;
                assert!(
                    [200, 400].contains(&answer.status.as_u16()),
                    "{option}={filter}: {} {}",
                    answer.status,
                    answer.text
                );
            }
        }
    });
}

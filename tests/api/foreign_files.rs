//! Folders that other backup tools write, given to `seed`.

use std::fs;

use devicegraph::import_export;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::RULES;

fn folder(files: &[(&str, String)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    folder
}

fn refusal(files: &[(&str, String)]) -> String {
    let folder = folder(files);
    let refusal = import_export::read(folder.path(), RULES).expect_err("a refusal");
    format!("{refusal:#}").replace(&format!("{}", folder.path().display()), "…")
}

fn configuration(members: serde_json::Value) -> String {
    let mut body = json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": "a"});
    body.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
    body.to_string()
}

fn typed(name: &str) -> String {
    json!({"@odata.type": format!("#microsoft.graph.{name}"), "displayName": "a"}).to_string()
}

#[test]
fn each_file_of_another_tool_is_named_with_what_it_is() {
    let files = [
        ("Device Configurations/a.json", configuration(json!({}))),
        ("Device Configurations/Assignments/a.json", json!([{"id": "x", "target": {}}]).to_string()),
        ("Device Configurations/Assignments/b.json", json!({"id": "x", "target": {}}).to_string()),
        ("Device Configurations/c.json", String::new()),
        ("Device Compliance Policies/a.json", typed("windows10CompliancePolicy")),
        ("Settings Catalog/a.json", json!({"name": "a", "settings": [], "technologies": "mdm"}).to_string()),
        ("Device Management Scripts/a.json", typed("deviceManagementScript")),
        ("Device Management Scripts/Script Content/a.ps1", "Get-Process".to_owned()),
        ("Client Apps/a.json", typed("win32LobApp")),
        ("Administrative Templates/a.json", json!([{"definition@odata.bind": "x", "enabled": true}]).to_string()),
        ("MigrationTable.json", json!({"TenantId": "x", "Objects": []}).to_string()),
        ("Groups/a.json", json!({"displayName": "a", "securityEnabled": true}).to_string()),
        ("Filters/a.json", json!({"displayName": "a", "platform": "iOS", "rule": "x"}).to_string()),
        ("assignments.csv", "a,b".to_owned()),
        ("README.md", "notes".to_owned()),
    ];
    let refusal = refusal(&files);
    let lines: Vec<_> = refusal.lines().collect();
    assert!(lines[0].starts_with("11 files are refused"), "{refusal}");
    for (file, taken) in [
        ("Device Configurations/Assignments/a.json", "it looks like a list of assignments; write them into"),
        ("Device Configurations/Assignments/b.json", "it looks like a list of assignments; write them into"),
        ("Device Configurations/c.json", "the file is empty"),
        ("Device Compliance Policies/a.json", "it looks like a compliance policy; this service does not store it"),
        ("Settings Catalog/a.json", "it looks like a settings catalog policy"),
        ("Device Management Scripts/a.json", "it looks like a script"),
        ("Device Management Scripts/Script Content/a.ps1", "not read, because it looks like a script"),
        ("Client Apps/a.json", "it looks like an app"),
        ("Administrative Templates/a.json", "it looks like an administrative template"),
        ("MigrationTable.json", "it looks like the MigrationTable.json of IntuneManagement"),
        ("Groups/a.json", "it looks like a group"),
        ("Filters/a.json", "it looks like an assignment filter"),
        ("assignments.csv", "not read, because it looks like a table in CSV"),
    ] {
        let line = lines.iter().find(|line| line.starts_with(&format!("…/{file}: ")));
        assert!(line.is_some_and(|line| line.contains(taken)), "{file}: {refusal}");
    }
    assert_eq!(lines.len(), 14, "{refusal}");
}

#[test]
fn a_file_that_is_not_json_is_no_reason_to_refuse_the_others() {
    let files = [("a.json", configuration(json!({}))), ("a.yaml", "a: 1".to_owned()), ("b.ps1", String::new())];
    assert_eq!(import_export::read(folder(&files).path(), RULES).expect("a configuration").len(), 1);
    let refusal = refusal(&[("a.yaml", "a: 1".to_owned())]);
    assert!(refusal.contains("there is no file *.json in this folder") && refusal.contains("in YAML"), "{refusal}");
}

#[test]
fn a_time_of_powershell_is_read_where_it_is_not_applied() {
    for date in ["/Date(1609459200000)/", "/Date(1609459200000+0100)/", "/Date(-1)/"] {
        let text = configuration(json!({"createdDateTime": date, "lastModifiedDateTime": date}));
        for text in [text.clone(), format!("[{text}]"), format!(r#"{{"value": [{text}]}}"#)] {
            let files = folder(&[("a.json", text)]);
            assert_eq!(import_export::read(files.path(), RULES).expect("a configuration").len(), 1, "{date}");
        }
    }
    let wrong = refusal(&[("a.json", configuration(json!({"createdDateTime": "/Date(x)/"})))]);
    assert!(wrong.contains("'createdDateTime'"), "{wrong}");
    let applied = json!({"@odata.type": "#microsoft.graph.windows10CustomConfiguration", "displayName": "a", "omaSettings": [
        {"@odata.type": "#microsoft.graph.omaSettingDateTime", "displayName": "s", "omaUri": "./x", "value": "/Date(1609459200000)/"},
    ]});
    let refused = refusal(&[("a.json", applied.to_string())]);
    assert!(refused.contains("'omaSettings[0].value'. Write '2021-01-01T00:00:00Z'."), "{refused}");
}

#[test]
fn the_name_of_a_group_is_not_its_id() {
    let target = json!({"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupName": "Sales", "groupType": "StaticMembership"});
    let refused =
        refusal(&[("a.json", configuration(json!({"assignments": [{"intent": "apply", "target": target}]})))]);
    assert!(
        refused.starts_with("…/a.json: The member 'assignments[0].target.groupName' is not a member of Graph. Backup tools add it to describe the group.")
            && refused.contains("'assignments[0].target.groupId'"),
        "{refused}"
    );
}

#[test]
fn a_file_without_an_id_is_known_by_its_type_and_name() {
    const ZERO: &str = "00000000-0000-0000-0000-000000000000";
    for id in [json!(ZERO), json!(""), json!(null)] {
        let named = |name: &str| configuration(json!({"id": id, "displayName": name}));
        let two = folder(&[("a.json", named("a")), ("b.json", named("b"))]);
        let read = import_export::read(two.path(), RULES).expect("two configurations");
        assert_eq!(read.len(), 2);
        assert!(read[0].id != read[1].id && read.iter().all(|one| !one.id.is_nil()));
        let without = folder(&[("a.json", configuration(json!({})))]);
        let without = import_export::read(without.path(), RULES).expect("a configuration");
        assert!(read.iter().any(|one| one.id == without[0].id), "the same id as without the member");
        let refused = refusal(&[("a.json", named("a")), ("b.json", named("a"))]);
        assert!(refused.contains("…/a.json") && refused.contains("…/b.json"), "{refused}");
        assert!(refused.contains("both have this type and name"), "{refused}");
    }
    let odd = refusal(&[
        ("a.json", configuration(json!({"Description": "x"}))),
        ("b.json", configuration(json!({"x@odata.bind": "y"}))),
    ]);
    assert!(
        odd.contains("'Description' is misspelt. Write 'description'.")
            && odd.contains("'x@odata.bind' asks for a link"),
        "{odd}"
    );
    let full = configuration(
        json!({"#microsoft.graph.assign": {}, "assignments@odata.navigationLink": "x", "@odata.etag": "y"}),
    );
    assert_eq!(import_export::read(folder(&[("a.json", full)]).path(), RULES).expect("a configuration").len(), 1);
}

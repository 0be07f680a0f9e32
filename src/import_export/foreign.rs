//! Recognises files of other backup tools that are no configuration.
//!
//! A file is recognised by its `@odata.type`, else by its members, else by its folder.

use std::path::Path;

use serde_json::{Map, Value};

use crate::{
    catalogue::{
        self, Type,
        families::{
            self, APP, APP_POLICY, ASSIGNMENTS, AUTOPILOT, COMPLIANCE, CONDITIONAL_ACCESS, ENROLLMENT, FILTER, Family,
            GROUP, INTENT, ROLE, SCRIPT, SETTINGS_CATALOG, TEMPLATE,
        },
        validation::TYPE,
    },
    resources::configurations::model as configuration,
};

/// The kind of a file that is no configuration.
pub(super) type Kind = Family;

const MIGRATION_TABLE: Kind = "the MigrationTable.json of IntuneManagement, which maps ids of groups";
const OTHER: Kind = "another kind of object, with neither '@odata.type' nor 'displayName'";

/// Returns the kind of a file, or `None` when it can be a configuration or a collection
/// of them.
pub(super) fn kind(file: &Path, value: &Value) -> Option<Kind> {
    match value {
        Value::Object(members) if !members.contains_key(TYPE) && members.get("value").is_some_and(Value::is_array) => {
            kind(file, &members["value"])
        }
        Value::Object(members) => kind_of_object(file, members),
        Value::Array(elements) => kind_of_object(file, elements.first()?.as_object()?),
        _ => None,
    }
}

/// Returns what to do with a file of this kind.
pub(super) fn remedy(kind: Kind) -> &'static str {
    match kind {
        ASSIGNMENTS => {
            "write them into the file of their configuration, as its member 'assignments', and move this file out of the folder"
        }
        _ => "this service does not store it; move this file out of the folder",
    }
}

/// Returns the kind of a file that is not JSON, by its extension. Only files that backup
/// tools write have a kind.
pub(super) fn kind_of_other(file: &Path) -> Option<Kind> {
    let extension = file.extension()?.to_str()?.to_ascii_lowercase();
    Some(match extension.as_str() {
        "yaml" | "yml" => "a backup in YAML; only JSON is read, so create the backup as JSON",
        "csv" => "a table in CSV",
        "ps1" | "sh" | "zsh" => SCRIPT,
        "mobileconfig" | "plist" | "xml" => "the payload of a configuration",
        "admx" | "adml" => TEMPLATE,
        _ => return None,
    })
}

fn kind_of_object(file: &Path, members: &Map<String, Value>) -> Option<Kind> {
    if let Some(odata_type) = members.get(TYPE) {
        let name = catalogue::unqualified(odata_type.as_str()?)?;
        let is_configuration = Type::find(name).is_some_and(|of| of.is_a(configuration::TYPE));
        return if is_configuration { None } else { families::of_type(name) };
    }
    let has = |name: &str| members.contains_key(name);
    Some(match () {
        () if has("target") || has("targetGroupId") => ASSIGNMENTS,
        () if has("Objects") && (has("TenantId") || has("Organization")) => MIGRATION_TABLE,
        () if has("definition@odata.bind") || has("definitionValues") => TEMPLATE,
        () if has("scriptContent") || has("detectionScriptContent") => SCRIPT,
        () if has("settings") && (has("technologies") || has("templateReference") || has("platforms")) => {
            SETTINGS_CATALOG
        }
        () if has("settingsDelta") || has("settings") && has("templateId") => INTENT,
        () if has("grantControls") && has("conditions") => CONDITIONAL_ACCESS,
        () if has("securityEnabled") || has("mailNickname") || has("groupTypes") => GROUP,
        () if has("rule") && has("platform") => FILTER,
        () if has("rolePermissions") => ROLE,
        () if has("scheduledActionsForRule") => COMPLIANCE,
        () => return kind_of_folder(file, has("displayName")),
    })
}

/// Folders that IntuneBackupAndRestore, IntuneCD and IntuneManagement write.
const FOLDERS: [(&[&str], Kind); 13] = [
    (&["Assignments"], ASSIGNMENTS),
    (&["Compliance Policies", "Device Compliance Policies", "CompliancePolicies"], COMPLIANCE),
    (&["Settings Catalog", "SettingsCatalog"], SETTINGS_CATALOG),
    (
        &[
            "Scripts",
            "Device Management Scripts",
            "Device Health Scripts",
            "Proactive Remediations",
            "Custom Attributes",
            "PowerShellScripts",
        ],
        SCRIPT,
    ),
    (&["Applications", "Client Apps"], APP),
    (&["App Configuration", "App Protection", "App Protection Policies"], APP_POLICY),
    (&["Enrollment Profiles", "Enrollment Configurations"], ENROLLMENT),
    (&["Autopilot Deployment Profiles", "Autopilot Devices"], AUTOPILOT),
    (&["Administrative Templates", "Group Policy Configurations", "AdministrativeTemplates"], TEMPLATE),
    (&["Device Management Intents", "Management Intents"], INTENT),
    (&["Filters", "AssignmentFilters"], FILTER),
    (&["Conditional Access", "ConditionalAccess"], CONDITIONAL_ACCESS),
    (&["Groups"], GROUP),
];

/// Returns the kind of an object without a type, by the folders above its file.
fn kind_of_folder(file: &Path, has_name: bool) -> Option<Kind> {
    let above = file.parent()?.components().rev().filter_map(|folder| folder.as_os_str().to_str());
    let kind = |folder: &str| FOLDERS.iter().find(|(names, _)| names.contains(&folder)).map(|(_, kind)| *kind);
    above.take(3).find_map(kind).or(if has_name { None } else { Some(OTHER) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn taken(file: &str, value: &Value) -> Option<Kind> {
        kind(Path::new(file), value)
    }

    #[test]
    fn a_file_is_recognised_by_its_type() {
        for (name, expected) in [("windows10CompliancePolicy", COMPLIANCE), ("win32LobApp", APP), ("group", GROUP)] {
            let typed = json!({TYPE: format!("#microsoft.graph.{name}"), "displayName": "x"});
            for value in [typed.clone(), json!([typed]), json!({"value": [typed]})] {
                assert_eq!(taken("x.json", &value), Some(expected), "{value}");
            }
        }
    }

    #[test]
    fn a_file_is_recognised_by_its_members_or_its_folder() {
        for (file, value, expected) in [
            ("x.json", json!([{"id": "a", "target": {}}]), Some(ASSIGNMENTS)),
            ("x.json", json!({"id": "a", "target": {}}), Some(ASSIGNMENTS)),
            ("MigrationTable.json", json!({"TenantId": "a", "Objects": []}), Some(MIGRATION_TABLE)),
            ("x.json", json!({"name": "a", "settings": [], "technologies": "mdm"}), Some(SETTINGS_CATALOG)),
            ("x.json", json!([{"enabled": true, "definition@odata.bind": "a"}]), Some(TEMPLATE)),
            ("x.json", json!({"displayName": "a", "scriptContent": "a"}), Some(SCRIPT)),
            ("x.json", json!({"displayName": "a", "securityEnabled": true}), Some(GROUP)),
            ("x.json", json!({"displayName": "a", "platform": "iOS", "rule": "a"}), Some(FILTER)),
            ("Filters/x.json", json!({"displayName": "a"}), Some(FILTER)),
            ("Client Apps/a/x.json", json!({"displayName": "a"}), Some(APP)),
            ("x.json", json!({"x": 1}), Some(OTHER)),
            ("x.json", json!({"displayName": "a"}), None),
            ("x.json", json!([]), None),
            ("Groups/x.json", json!({TYPE: "#microsoft.graph.iosCustomConfiguration"}), None),
            ("x.json", json!({TYPE: "#microsoft.graph.windowsKioskConfiguration", "target": {}}), None),
        ] {
            assert_eq!(taken(file, &value), expected, "{file} {value}");
        }
        assert_eq!(kind_of_other(Path::new("a/b.CSV")), Some("a table in CSV"));
        assert_eq!(kind_of_other(Path::new("a/README.md")), None);
    }
}

//! Names of Graph's types that are no device configurations but are often sent as one, with their
//! families.

/// The family of a type that is no configuration, as a noun phrase for messages.
pub type Family = &'static str;

/// Assignments without their configuration.
pub const ASSIGNMENTS: Family = "a list of assignments";
/// `deviceCompliancePolicies`
pub const COMPLIANCE: Family = "a compliance policy";
/// `configurationPolicies`
pub const SETTINGS_CATALOG: Family = "a settings catalog policy";
/// `deviceManagementScripts`, `deviceShellScripts`, `deviceHealthScripts`
pub const SCRIPT: Family = "a script";
/// `mobileApps`
pub const APP: Family = "an app";
/// `mobileAppConfigurations`, `managedAppPolicies`
pub const APP_POLICY: Family = "an app policy";
/// `deviceEnrollmentConfigurations`
pub const ENROLLMENT: Family = "an enrollment configuration";
/// `windowsAutopilotDeploymentProfiles`
pub const AUTOPILOT: Family = "an Autopilot profile";
/// `groupPolicyConfigurations`
pub const TEMPLATE: Family = "an administrative template";
/// `intents`
pub const INTENT: Family = "an endpoint security policy";
/// `windowsFeatureUpdateProfiles` and their like
pub const UPDATES: Family = "an update profile";
/// `assignmentFilters`
pub const FILTER: Family = "an assignment filter";
/// `conditionalAccess/policies`
pub const CONDITIONAL_ACCESS: Family = "a Conditional Access policy";
/// `groups`
pub const GROUP: Family = "a group";
/// `users`
pub const USER: Family = "a user";
/// `devices`, `managedDevices`
pub const DEVICE: Family = "a device";
/// `roleDefinitions`, `roleScopeTags`
pub const ROLE: Family = "a role or a scope tag";

/// Returns the family of a type that is no configuration, by its name without the namespace. A
/// test compares the rules with the types of the catalogue.
pub fn of_type(name: &str) -> Option<Family> {
    let lower = name.to_ascii_lowercase();
    let ends_with = |endings: &[&str]| endings.iter().any(|ending| lower.ends_with(ending));
    Some(match lower.as_str() {
        "group" => GROUP,
        "user" => USER,
        "device" | "manageddevice" => DEVICE,
        "conditionalaccesspolicy" => CONDITIONAL_ACCESS,
        "grouppolicyconfiguration" => TEMPLATE,
        "devicemanagementconfigurationpolicy" => SETTINGS_CATALOG,
        "devicemanagementintent" => INTENT,
        "deviceandappmanagementassignmentfilter" => FILTER,
        "rolescopetag" => ROLE,
        _ if ends_with(&["assignment"]) => ASSIGNMENTS,
        _ if ends_with(&["compliancepolicy"]) => COMPLIANCE,
        _ if ends_with(&["script"]) => SCRIPT,
        _ if ends_with(&["roledefinition"]) => ROLE,
        _ if ends_with(&["mobileappconfiguration", "managedstoreappconfiguration"])
            || lower.contains("managedappp")
            || lower.contains("managedappconf")
            || lower.contains("windowsinformationprotection") =>
        {
            APP_POLICY
        }
        _ if ends_with(&["app", "appx", "appxbundle", "webclip", "mobilemsi", "phonexap"]) => APP,
        _ if ends_with(&["autopilotdeploymentprofile"]) => AUTOPILOT,
        _ if ends_with(&["updateprofile", "updatepolicy"]) => UPDATES,
        _ if lower.contains("enrollment") || lower.starts_with("devicecomanagement") => ENROLLMENT,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Type, sent_types, version::Version},
        *,
    };

    #[test]
    fn no_type_of_a_configuration_is_taken_for_something_else() {
        for of in Type::all().iter().filter(|of| of.is_a("deviceConfiguration")) {
            assert_eq!(of_type(&of.name), None, "{}", of.name);
        }
    }

    /// A type of a nested value can have a name like that of an app, and so can its misspelling.
    #[test]
    fn a_misspelt_nested_type_is_no_app() {
        for name in ["windowsKioskUwpApp", "windowsKioskUWApp"] {
            let odata_type = format!("#microsoft.graph.{name}");
            let sent = sent_types::read(&odata_type, "windowsKioskAppBase", Version::Beta);
            let refusal = sent.err().expect("it is no type").to_string();
            assert!(refusal.ends_with(" Write '#microsoft.graph.windowsKioskUWPApp'."), "{refusal}");
        }
    }

    #[test]
    fn the_usual_mix_ups_are_recognised() {
        for (name, expected) in [
            ("windows10CompliancePolicy", COMPLIANCE),
            ("deviceCompliancePolicy", COMPLIANCE),
            ("win32LobApp", APP),
            ("windowsUniversalAppX", APP),
            ("deviceManagementScript", SCRIPT),
            ("deviceShellScript", SCRIPT),
            ("deviceHealthScript", SCRIPT),
            ("deviceManagementConfigurationPolicy", SETTINGS_CATALOG),
            ("groupPolicyConfiguration", TEMPLATE),
            ("iosManagedAppProtection", APP_POLICY),
            ("iosMobileAppConfiguration", APP_POLICY),
            ("azureADWindowsAutopilotDeploymentProfile", AUTOPILOT),
            ("deviceEnrollmentLimitConfiguration", ENROLLMENT),
            ("windowsFeatureUpdateProfile", UPDATES),
            ("deviceConfigurationAssignment", ASSIGNMENTS),
            ("group", GROUP),
            ("user", USER),
            ("managedDevice", DEVICE),
        ] {
            assert_eq!(of_type(name), Some(expected), "{name}");
        }
    }
}

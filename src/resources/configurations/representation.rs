//! The JSON of a configuration in an answer.

use serde::{Serialize, Serializer, ser::SerializeMap};
use time::format_description::well_known::Rfc3339;

use super::model::{Configuration, RESERVED, TYPE, is_a, type_of};
use crate::{
    catalogue::{NAMESPACE, Type, rendering, validation, version::Version},
    database::{self, timestamp::Timestamp},
    odata::{links::Links, select::Select},
    resources::{assignments, parent::ConfigurationId},
};

/// The navigation properties that the service answers at their own paths.
const SERVED_NAVIGATION: [&str; 7] = [
    "assignments",
    "deviceSettingStateSummaries",
    "deviceStatuses",
    "deviceStatusOverview",
    GROUP_ASSIGNMENTS,
    "userStatuses",
    "userStatusOverview",
];
/// The navigation property that only `/beta` has.
const GROUP_ASSIGNMENTS: &str = "groupAssignments";

/// The bound operations of the service, with the parameters in the URL of a call.
const OPERATIONS: [(&str, &str); 2] =
    [("assign", ""), ("getOmaSettingPlainTextValue", "(secretReferenceValueId=@secretReferenceValueId)")];

/// A configuration as JSON in an answer.
pub struct ConfigurationJson<'a> {
    /// The configuration.
    pub configuration: &'a Configuration,
    /// `@odata.context`, when the answer is this configuration alone.
    pub context: Option<String>,
    /// The version and the control information of the request.
    pub links: &'a Links,
    /// The selected members. `None` means all.
    pub select: Option<&'a Select>,
    /// The assignments, when the client expands them.
    pub assignments: Option<Expanded<'a>>,
}

/// The expanded assignments of a configuration.
pub struct Expanded<'a> {
    /// `assignments@odata.context`
    pub context: String,
    /// The number of assignments, when the client asked for it.
    pub count: Option<i64>,
    /// The link to the next page, when there are more assignments.
    pub next: Option<String>,
    /// The assignments of the page.
    pub value: Vec<assignments::representation::AssignmentJson<'a>>,
}

impl Configuration {
    /// Returns the JSON of an element of a collection, with all members.
    pub fn shown<'a>(&'a self, links: &'a Links) -> ConfigurationJson<'a> {
        ConfigurationJson { configuration: self, context: None, links, select: None, assignments: None }
    }

    /// Returns the JSON of an answer that is this configuration alone.
    pub fn shown_alone<'a>(&'a self, links: &'a Links) -> ConfigurationJson<'a> {
        let context = links.context("deviceManagement/deviceConfigurations/$entity");
        ConfigurationJson { context: Some(context), ..self.shown(links) }
    }
}

impl Serialize for ConfigurationJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { configuration: stored, links, .. } = *self;
        if stored.is_unreadable() {
            database::report_unreadable("device_configurations", stored.id);
        }
        let mut map = serializer.serialize_map(None)?;
        if let Some(context) = &self.context {
            map.serialize_entry("@odata.context", context)?;
        }
        map.serialize_entry(validation::TYPE, &format_args!("#{NAMESPACE}.{}", stored.odata_type))?;
        let address = links.control.is_full.then(|| Address::of(stored, links.version));
        if let Some(address) = &address {
            map.serialize_entry("@odata.id", &address.id)?;
            map.serialize_entry("@odata.editLink", &address.with_cast)?;
        }
        if links.control.has_etags {
            map.serialize_entry("@odata.etag", &format_args!("{}", stored.etag()))?;
        }
        self.write_columns(&mut map)?;
        if let Some(of) = type_of(&stored.odata_type) {
            let wanted = |name: &str| !RESERVED.contains(&name) && self.has(name);
            rendering::write(&mut map, of, &stored.properties, wanted, links.form())?;
        }
        self.write_assignments(&mut map)?;
        if let Some(address) = &address {
            self.write_links(&mut map, address)?;
        }
        map.end()
    }
}

impl ConfigurationJson<'_> {
    fn has(&self, name: &str) -> bool {
        self.select.is_none_or(|select| select.has(&self.configuration.odata_type, name))
    }

    /// Writes the properties of the base type that have columns of their own.
    fn write_columns<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let stored = self.configuration;
        let date = |date: Timestamp| date.format(&Rfc3339).map_err(serde::ser::Error::custom);
        self.write_column(map, "id", &stored.id)?;
        if self.has("createdDateTime") {
            self.write_column(map, "createdDateTime", &date(stored.created_date_time)?)?;
        }
        self.write_column(map, "description", &stored.description)?;
        self.write_column(map, "displayName", &stored.display_name)?;
        if self.has("lastModifiedDateTime") {
            self.write_column(map, "lastModifiedDateTime", &date(stored.last_modified_date_time)?)?;
        }
        self.write_column(map, "version", &stored.version)?;
        match self.links.version {
            Version::Beta | Version::OpenBeta => self.write_column(map, "supportsScopeTags", &true),
            Version::V1 => Ok(()),
        }
    }

    fn write_column<M: SerializeMap, T: Serialize>(
        &self,
        map: &mut M,
        name: &'static str,
        value: &T,
    ) -> Result<(), M::Error> {
        if !self.has(name) {
            return Ok(());
        }
        if self.links.control.is_full
            && let Some(property) = Type::find(TYPE).and_then(|of| of.property(name, Version::Beta))
        {
            rendering::write_type(map, property)?;
        }
        map.serialize_entry(name, value)
    }

    fn write_assignments<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let Some(expanded) = &self.assignments else { return Ok(()) };
        map.serialize_entry("assignments@odata.context", &expanded.context)?;
        if let Some(count) = expanded.count {
            map.serialize_entry("assignments@odata.count", &count)?;
        }
        map.serialize_entry("assignments", &expanded.value)?;
        match &expanded.next {
            Some(next) => map.serialize_entry("assignments@odata.nextLink", next),
            None => Ok(()),
        }
    }

    /// Writes the links of the navigation properties, and the operations.
    fn write_links<M: SerializeMap>(&self, map: &mut M, address: &Address) -> Result<(), M::Error> {
        let is_expanded = |name: &str| name == "assignments" && self.assignments.is_some();
        let exists = |name: &str| self.links.version.is_beta() || name != GROUP_ASSIGNMENTS;
        let is_wanted = |name: &&str| exists(name) && (is_expanded(name) || self.has(name));
        for name in SERVED_NAVIGATION.into_iter().filter(is_wanted) {
            let link = self.links.to(format_args!("{}/{name}", address.with_cast));
            map.serialize_entry(&format_args!("{name}@odata.navigationLink"), &link)?;
            map.serialize_entry(&format_args!("{name}@odata.associationLink"), &format_args!("{link}/$ref"))?;
        }
        for (name, parameters) in OPERATIONS.into_iter().filter(|(name, _)| self.has(name)) {
            let title = format!("{NAMESPACE}.{name}");
            let target = self.links.to(format_args!("{}/{title}{parameters}", address.with_cast));
            map.serialize_entry(&format_args!("#{title}"), &Operation { title: &title, target })?;
        }
        Ok(())
    }
}

/// The paths of a configuration below a version.
struct Address {
    id: String,
    /// The path with a cast to the type of the configuration.
    with_cast: String,
}

impl Address {
    fn of(stored: &Configuration, version: Version) -> Self {
        let id = ConfigurationId(stored.id).address();
        let cast = format!("{NAMESPACE}.{}", stored.odata_type);
        // A version does not resolve a cast to a type that it does not have.
        let is_resolved = stored.odata_type != TYPE && is_a(&stored.odata_type, &cast, version).is_ok_and(|is_a| is_a);
        let with_cast = if is_resolved { format!("{id}/{cast}") } else { id.clone() };
        Self { id, with_cast }
    }
}

/// An operation that a client can call on a configuration.
#[derive(Serialize)]
struct Operation<'a> {
    title: &'a str,
    target: String,
}

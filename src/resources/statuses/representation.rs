//! The JSON of a status or an overview in an answer.

use std::borrow::Cow;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::model::{Overview, OverviewKind, Status, StatusId, StatusKind};
use crate::{
    catalogue::{NAMESPACE, Type, rendering, validation::TYPE},
    odata::links::{Links, Reference},
    resources::parent::ConfigurationId,
};

/// A status or an overview as JSON in an answer.
pub struct StatusJson<'a> {
    context: Option<String>,
    type_name: &'static str,
    id: Uuid,
    /// The path of the entity below the version, when the answer has its id.
    address: Option<String>,
    /// Whether a client can change it.
    is_editable: bool,
    properties: Cow<'a, Map<String, Value>>,
    links: &'a Links,
}

/// Returns the fragment of `@odata.context` for a collection.
pub fn context(kind: StatusKind, configuration: ConfigurationId) -> String {
    format!("{}/{}", configuration.address(), kind.segment())
}

fn address(kind: StatusKind, configuration: ConfigurationId, id: StatusId) -> String {
    format!("{}('{}')", context(kind, configuration), id.0)
}

impl Status {
    /// Returns the JSON of an element of a collection.
    pub fn shown<'a>(&'a self, links: &'a Links, configuration: ConfigurationId) -> StatusJson<'a> {
        StatusJson {
            context: None,
            type_name: self.kind.type_name(),
            id: self.id,
            address: links.control.is_full.then(|| address(self.kind, configuration, StatusId(self.id))),
            is_editable: true,
            properties: Cow::Borrowed(&self.properties),
            links,
        }
    }

    /// Returns the JSON of an answer that is this status alone.
    pub fn shown_alone<'a>(&'a self, links: &'a Links, configuration: ConfigurationId) -> StatusJson<'a> {
        let fragment = format!("{}/$entity", context(self.kind, configuration));
        StatusJson { context: Some(links.context(fragment)), ..self.shown(links, configuration) }
    }

    /// Returns a reference to it.
    pub fn reference(&self, links: &Links, configuration: ConfigurationId) -> Reference {
        Reference::element(links, address(self.kind, configuration, StatusId(self.id)))
    }
}

impl OverviewKind {
    fn address(self, configuration: ConfigurationId) -> String {
        format!("{}/{}", configuration.address(), self.names().0)
    }

    /// Returns the JSON of the overview.
    pub fn shown<'a>(self, configuration: ConfigurationId, overview: &Overview, links: &'a Links) -> StatusJson<'a> {
        let address = self.address(configuration);
        let properties = [
            ("configurationVersion", overview.version.into()),
            ("errorCount", overview.error.into()),
            ("failedCount", overview.failed.into()),
            ("lastUpdateDateTime", overview.last_update_date_time.format(&Rfc3339).unwrap_or_default().into()),
            ("notApplicableCount", overview.not_applicable.into()),
            ("pendingCount", overview.pending.into()),
            ("successCount", overview.success.into()),
            ("conflictCount", overview.conflict.into()),
        ];
        let properties = properties.map(|(name, value): (_, Value)| (name.to_owned(), value)).into_iter().collect();
        StatusJson {
            context: Some(links.context(format_args!("{address}/$entity"))),
            type_name: self.names().1,
            id: configuration.0,
            address: links.control.is_full.then_some(address),
            is_editable: false,
            properties: Cow::Owned(properties),
            links,
        }
    }

    /// Returns a reference to the overview as the whole answer.
    pub fn reference(self, configuration: ConfigurationId, links: &Links) -> Reference {
        Reference::alone(links, self.address(configuration))
    }
}

impl Serialize for StatusJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(context) = &self.context {
            map.serialize_entry("@odata.context", context)?;
        }
        map.serialize_entry(TYPE, &format_args!("#{NAMESPACE}.{}", self.type_name))?;
        if let Some(address) = &self.address {
            map.serialize_entry("@odata.id", address)?;
            if self.is_editable {
                map.serialize_entry("@odata.editLink", address)?;
            }
        }
        map.serialize_entry("id", &self.id)?;
        if let Some(of) = Type::find(self.type_name) {
            rendering::write(&mut map, of, &self.properties, |name| name != "id", self.links.form())?;
        }
        map.end()
    }
}

//! A configuration: read from Graph JSON, kept as a row. `representation.rs` writes it.
//!
//! Every [`NewConfiguration`] is valid. The properties of a [`ConfigurationPatch`] are checked
//! when it is applied.

use std::collections::HashSet;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::secrets::{self, Secret};
use crate::{
    catalogue::{
        self, NAMESPACE, NamedType, Type, messages, rendering,
        sent_types::{self, SentType},
        validation::{self, Path},
        version::Version,
    },
    database::{json::Object, timestamp::Timestamp},
    error::ApiError,
    json,
    odata::{etag::ETag, key, members::ObjectReader},
    resources::assignments::set::AssignmentSet,
};

/// The base type of every configuration.
pub const TYPE: &str = "deviceConfiguration";

/// A stored configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    /// Its key.
    pub id: Uuid,
    /// The concrete Graph type, without its namespace.
    pub odata_type: String,
    /// The name that an administrator reads.
    pub display_name: String,
    /// Free text.
    pub description: Option<String>,
    /// The version: 1, then raised by 1 with every change.
    pub version: i32,
    /// The time of the creation.
    pub created_date_time: Timestamp,
    /// The time of the last change.
    pub last_modified_date_time: Timestamp,
    /// The properties that its type adds, as they were sent: see [`catalogue::validation`].
    pub properties: Object,
}

/// A configuration that a client creates.
#[derive(Debug)]
pub struct NewConfiguration {
    /// The client's id. `None`: the service generates one.
    pub id: Option<Uuid>,
    /// The concrete Graph type, without its namespace.
    pub odata_type: String,
    /// The name that an administrator reads.
    pub display_name: String,
    /// Free text.
    pub description: Option<String>,
    /// The properties that its type adds. Secrets are masked.
    pub properties: Object,
    /// The secrets that were sent.
    pub secrets: Vec<Secret>,
    /// The assignments to create with it. `None` when the body does not have them.
    pub assignments: Option<AssignmentSet>,
}

/// The changes that a client sends. Members that are not sent stay as they are.
///
/// The properties can only be checked against the type of the stored configuration.
pub struct ConfigurationPatch {
    odata_type: Option<String>,
    display_name: Option<String>,
    description: Option<Option<String>>,
    properties: Map<String, Value>,
    version: Version,
}

/// Members that the service sets. The service accepts and ignores them, so that a client can
/// send back what it has read.
pub const COMPUTED: [&str; 4] = ["createdDateTime", "lastModifiedDateTime", "version", "supportsScopeTags"];

/// Navigation properties that another request sets, and that request.
const SET_ELSEWHERE: [(&str, &str); 2] =
    [("assignments", "POST it to …/assign"), ("groupAssignments", "POST 'assignments' to …/assign")];

impl NewConfiguration {
    /// # Errors
    /// 400 that names the wrong member.
    pub fn parse(mut members: ObjectReader) -> Result<Self, ApiError> {
        let odata_type = match members.string(validation::TYPE)? {
            Some(text) => concrete_type(&text, members.version()),
            None => Err(members.refused_annotation().unwrap_or_else(|| validation::abstract_class(TYPE))),
        };
        let odata_type = members.located(odata_type)?;
        let Some(display_name) = members.string("displayName")? else {
            return Err(members.missing("displayName", ". A device configuration needs a name."));
        };
        let description = members.nullable_string("description")?.flatten();
        let id = key::client_id(&mut members)?;
        let assignments = AssignmentSet::nested(&mut members)?;
        let version = members.version();
        let (properties, secrets) = checked(own_properties(members)?, &odata_type, version)?;
        Ok(Self { id, odata_type, display_name, description, properties: properties.into(), secrets, assignments })
    }

    /// Returns whether a client of `version` sees no difference between `stored` and this
    /// create with these properties.
    pub fn reads_as(&self, properties: &Map<String, Value>, stored: &Configuration, version: Version) -> bool {
        self.odata_type == stored.odata_type
            && self.display_name == stored.display_name
            && self.description == stored.description
            && read_alike(&self.odata_type, properties, &stored.properties, version)
    }
}

impl ConfigurationPatch {
    /// # Errors
    /// 400 that names the wrong member.
    pub fn parse(mut members: ObjectReader) -> Result<Self, ApiError> {
        let odata_type = members.string(validation::TYPE)?;
        let display_name = members.string("displayName")?;
        let description = members.nullable_string("description")?;
        key::ignore_id(&mut members)?;
        let version = members.version();
        let properties = own_properties(members)?;
        Ok(Self { odata_type, display_name, description, properties, version })
    }

    /// Returns the changed configuration and the secrets that were sent. A sent member replaces
    /// the whole stored member, also a collection.
    ///
    /// # Errors
    /// 400 for a type that differs from the configuration's type, for a wrong member, and when the
    /// configuration would grow to more than `max_values` JSON values.
    pub fn apply(
        mut self,
        stored: &Configuration,
        max_values: usize,
    ) -> Result<(Configuration, Vec<Secret>), ApiError> {
        if let Some(odata_type) = self.odata_type
            && catalogue::unqualified(&odata_type) != Some(&stored.odata_type)
        {
            let odata_type = concrete_type(&odata_type, self.version)?;
            return Err(ApiError::model(format!(
                "The configuration is of type '{NAMESPACE}.{}' and cannot become '{NAMESPACE}.{odata_type}'. Leave '@odata.type' out, or create another configuration.",
                stored.odata_type,
            )));
        }
        let shown = |name: &str, properties| type_of(&stored.odata_type)?.shown(name, properties, self.version);
        // A member that is sent as the client reads it stays as it is stored, with the parts
        // that this version does not show.
        self.properties.retain(|name, value| shown(name, &stored.properties).as_deref() != Some(value));
        let (mut properties, secrets) = checked(self.properties, &stored.odata_type, self.version)?;
        let is_secret = |name: &str| name == "omaSettings" && !secrets.is_empty();
        let is_same = |name: &&String| shown(name, &properties) == shown(name, &stored.properties);
        let unchanged: HashSet<_> =
            properties.keys().filter(|name| !is_secret(name)).filter(is_same).cloned().collect();
        properties.retain(|name, _| !unchanged.contains(name));
        check_growth(&stored.properties, &properties, max_values)?;
        let mut changed = stored.clone();
        changed.display_name = self.display_name.unwrap_or(changed.display_name);
        changed.description = self.description.unwrap_or(changed.description);
        changed.properties.extend(properties);
        changed.properties.sort_keys();
        Ok((changed, secrets))
    }
}

/// Returns the name of the type without its namespace. Only [`Version::OpenBeta`] accepts a type
/// that the catalogue lacks.
fn concrete_type(odata_type: &str, version: Version) -> Result<String, ApiError> {
    match sent_types::of_entity(odata_type, TYPE, version)? {
        SentType::Known(found) if found.is_abstract => Err(validation::abstract_class(&found.name)),
        SentType::Known(found) => Ok(found.name.clone()),
        SentType::Undeclared(name) => Ok(name.to_owned()),
    }
}

/// Returns the members that the type adds. Checks and drops the computed members, and refuses
/// members that are separate resources.
fn own_properties(mut members: ObjectReader) -> Result<Map<String, Value>, ApiError> {
    let of = Type::find(TYPE);
    for name in COMPUTED {
        let (path, value) = (members.path(name), members.take(name));
        let (Some(mut value), Some(property)) = (value, of.and_then(|of| of.property(name, Version::Beta))) else {
            continue;
        };
        if !value.is_null() {
            property.check(&mut value, Path::Member(&Path::Body, &path), Version::Beta)?;
        }
    }
    // `/beta` keeps unknown members. A dry run must not be executed.
    if members.has("validateOnly") {
        return Err(ApiError::model(
            "The member 'validateOnly' exists only in the action 'assign'. Nothing was written. Leave it out to carry out the request.",
        ));
    }
    for (name, remedy) in SET_ELSEWHERE {
        if members.take(name).is_some() {
            return Err(messages::navigation(members.path(name), remedy));
        }
    }
    members.rest()
}

/// Returns whether a configuration of type `odata_type` has the type that the segment `cast`
/// names.
///
/// # Errors
/// 400 for a type that is unknown or not derived from deviceConfiguration.
pub fn is_a(odata_type: &str, cast: &str, version: Version) -> Result<bool, ApiError> {
    Ok(match catalogue::named_type(cast, TYPE, version)? {
        NamedType::Declared(of) => of.name == TYPE || Type::find(odata_type).is_some_and(|found| found.is_a(&of.name)),
        NamedType::Undeclared(name) => name == odata_type,
    })
}

/// Returns the type of a configuration, or the base type when the catalogue lacks it.
pub(super) fn type_of(odata_type: &str) -> Option<&'static Type> {
    Type::find(odata_type).or_else(|| Type::find(TYPE))
}

/// Checks the properties against their type. Returns the properties, and the secrets that they
/// contained.
fn checked(
    mut properties: Map<String, Value>,
    odata_type: &str,
    version: Version,
) -> Result<(Map<String, Value>, Vec<Secret>), ApiError> {
    let taken = secrets::extract(&mut properties)?;
    if let Some(of) = type_of(odata_type) {
        validation::check_properties(&mut properties, of, Path::Body, version)?;
    }
    let secrets = secrets::mask(&mut properties, taken)?;
    // The same order as in a stored object, so that the texts of equal objects are equal.
    properties.sort_keys();
    properties.values_mut().for_each(Value::sort_all_objects);
    Ok((properties, secrets))
}

/// Refuses changed members with which the properties would have more than `max_values` JSON values.
/// Such a configuration would need more memory than the largest body, and its export could not be
/// loaded. A change that adds no values is always allowed.
fn check_growth(stored: &Map<String, Value>, changed: &Map<String, Value>, max_values: usize) -> Result<(), ApiError> {
    let count = |values: &mut dyn Iterator<Item = &Value>| values.map(json::count_values_in).sum::<usize>();
    let added = count(&mut changed.values());
    let removed = count(&mut changed.keys().filter_map(|name| stored.get(name)));
    if added <= removed || count(&mut stored.values()) - removed + added <= max_values {
        return Ok(());
    }
    Err(ApiError::model(format!(
        "With this change, the configuration would have more than {max_values} JSON values, which is the limit. An object with members counts as two. Send fewer values, or send null for members that are not needed."
    )))
}

fn read_alike(odata_type: &str, one: &Map<String, Value>, other: &Map<String, Value>, version: Version) -> bool {
    one == other || type_of(odata_type).is_some_and(|of| rendering::read_alike(of, one, other, version))
}

/// Members that are never properties of a type. SQL can store them in `properties`, but no
/// answer shows them.
pub const RESERVED: [&str; 13] = [
    "@odata.type",
    "@odata.etag",
    "@odata.context",
    "assignments",
    "assignments@odata.context",
    "assignments@odata.count",
    "id",
    "createdDateTime",
    "description",
    "displayName",
    "lastModifiedDateTime",
    "version",
    "supportsScopeTags",
];

impl Configuration {
    /// Returns whether the row holds values that JSON cannot hold. They are read as null or as
    /// the nearest time.
    pub fn is_unreadable(&self) -> bool {
        let times = [self.created_date_time, self.last_modified_date_time];
        times.iter().any(|time| time.is_clamped) || self.properties.is_repaired
    }

    /// Returns the ETag: the version and the time of the last change. The version alone is not
    /// enough, because it can repeat after a restore, or when a deleted configuration is
    /// created again with its id.
    pub fn etag(&self) -> ETag {
        let since = self.last_modified_date_time.unix_timestamp_nanos() / 1000;
        ETag::new(format_args!("{}.{since:x}", self.version))
    }

    /// Returns whether a client sees no difference. Ignores the version and the times.
    pub fn reads_as(&self, other: &Self) -> bool {
        self.display_name == other.display_name
            && self.description == other.description
            && read_alike(&self.odata_type, &self.properties, &other.properties, Version::Beta)
    }
}

//! The six targets of an assignment, and the assignment filter of a target.
//!
//! The CHECK constraints of the table accept every [`Target`].
//!
//! <https://learn.microsoft.com/graph/api/resources/intune-shared-deviceandappmanagementassignmenttarget>

use std::fmt;

use crate::{
    catalogue::{sent_types, version::Version},
    error::{ApiError, shorten},
    odata::{
        key::{self, ExternalId},
        members::ObjectReader,
    },
};

/// The base type of every target.
pub const TYPE: &str = "deviceAndAppManagementAssignmentTarget";

/// The target of an assignment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The base type, which names nothing. It is abstract in Graph's model, but the documented
    /// example sends it.
    Base,
    /// Every device.
    AllDevices,
    /// Every user with a license.
    AllLicensedUsers,
    /// The members of a group.
    Group(ExternalId),
    /// All but the members of a group.
    ExclusionGroup(ExternalId),
    /// A collection of Configuration Manager.
    ConfigurationManagerCollection(ExternalId),
}

/// The assignment filter of a target, which only `/beta` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The id of the filter.
    pub id: ExternalId,
    /// `include` or `exclude`.
    pub filter_type: &'static str,
}

impl Target {
    /// Reads a target and, on `/beta`, its filter. The filter is `None` when the client did not
    /// send the members of a filter, and `Some(None)` when it sent no filter.
    ///
    /// # Errors
    /// 400 that names the wrong member.
    pub fn parse(mut members: ObjectReader) -> Result<(Self, Option<Option<Filter>>), ApiError> {
        let Some(odata_type) = members.string("@odata.type")? else {
            return Err(members.missing(
                "@odata.type",
                ". Send the type of the target, for example '#microsoft.graph.groupAssignmentTarget'.",
            ));
        };
        let type_name = members.located(sent_types::known(&odata_type, TYPE))?.name.as_str();
        members.set_type(type_name);
        reject_group_name(&members, type_name.ends_with("roupAssignmentTarget"))?;
        let target = match type_name {
            "allDevicesAssignmentTarget" => Self::AllDevices,
            "allLicensedUsersAssignmentTarget" => Self::AllLicensedUsers,
            "groupAssignmentTarget" => Self::Group(required(&mut members, "groupId")?),
            "exclusionGroupAssignmentTarget" => Self::ExclusionGroup(required(&mut members, "groupId")?),
            "configurationManagerCollectionAssignmentTarget" => {
                Self::ConfigurationManagerCollection(required(&mut members, "collectionId")?)
            }
            _ => Self::Base,
        };
        let filter = match members.version() {
            Version::Beta | Version::OpenBeta => filter(&mut members)?,
            Version::V1 => None,
        };
        members.reject_unread()?;
        Ok((target, filter))
    }

    /// Returns the columns `target_type`, `group_id` and `collection_id`.
    pub fn columns(&self) -> (&'static str, Option<&ExternalId>, Option<&ExternalId>) {
        match self {
            Self::Base => (TYPE, None, None),
            Self::AllDevices => ("allDevicesAssignmentTarget", None, None),
            Self::AllLicensedUsers => ("allLicensedUsersAssignmentTarget", None, None),
            Self::Group(id) => ("groupAssignmentTarget", Some(id), None),
            Self::ExclusionGroup(id) => ("exclusionGroupAssignmentTarget", Some(id), None),
            Self::ConfigurationManagerCollection(id) => {
                ("configurationManagerCollectionAssignmentTarget", None, Some(id))
            }
        }
    }

    /// Returns the key of the target, which is unique in a configuration. It equals the
    /// generated column `target_key`; a test compares the two.
    pub fn key(&self) -> Option<String> {
        Self::key_of_columns(self.columns_as_text())
    }

    /// Returns the columns `target_type`, `group_id` and `collection_id` as text.
    pub fn columns_as_text(&self) -> (&str, Option<&str>, Option<&str>) {
        let (target_type, group, collection) = self.columns();
        (target_type, group.map(ExternalId::as_str), collection.map(ExternalId::as_str))
    }

    /// Returns the key of a target with these columns.
    pub fn key_of_columns((target_type, group, collection): (&str, Option<&str>, Option<&str>)) -> Option<String> {
        match (group, collection) {
            (Some(group), _) => Some(format!("group:{group}")),
            (None, Some(collection)) => Some(format!("collection:{collection}")),
            (None, None) if target_type == TYPE => None,
            (None, None) => target_type.strip_suffix("AssignmentTarget").map(str::to_owned),
        }
    }

    /// Returns the name of the target for a message.
    pub fn description(&self) -> String {
        match self {
            Self::Base => "the base target".to_owned(),
            Self::AllDevices => "all devices".to_owned(),
            Self::AllLicensedUsers => "all licensed users".to_owned(),
            Self::Group(id) | Self::ExclusionGroup(id) => format!("the group '{}'", shorten(id.as_str())),
            Self::ConfigurationManagerCollection(id) => format!("the collection '{}'", shorten(id.as_str())),
        }
    }

    /// Returns the 409 of `assign` for a group that is stored with the opposite inclusion.
    pub fn opposite(&self, stored: impl fmt::Display) -> ApiError {
        let (wanted, has) = match self {
            Self::ExclusionGroup(_) => ("excludes", "includes"),
            _ => ("includes", "excludes"),
        };
        ApiError::conflict(format!(
            "The request {wanted} {}, and the assignment '{stored}' of this configuration {has} it. To change that assignment, send 'onConflict' with 'change'. Otherwise leave the group out.",
            self.description(),
        ))
    }

    /// Returns the 409 for a target that already has an assignment in the configuration.
    pub fn taken(&self, by: impl fmt::Display) -> ApiError {
        ApiError::conflict(format!(
            "The assignment '{by}' of this configuration already includes or excludes {}. Change or delete that assignment.",
            self.description(),
        ))
    }
}

fn required(members: &mut ObjectReader, name: &'static str) -> Result<ExternalId, ApiError> {
    match members.string(name)? {
        Some(text) => ExternalId::parse(text, &members.path(name)),
        None => Err(members.missing(name, ". This target needs it.")),
    }
}

/// Refuses members that backup tools add for a reader of their files.
fn reject_group_name(members: &ObjectReader, has_group: bool) -> Result<(), ApiError> {
    match ["groupName", "groupDisplayName", "groupType", "membershipRule"].iter().find(|name| members.has(name)) {
        Some(name) => {
            let id = members.path("groupId");
            let remedy =
                if has_group { format!("Send the id of the group as '{id}', and leave") } else { "Leave".to_owned() };
            Err(ApiError::model(format!(
                "The member '{}' is not a member of Graph. Backup tools add it to describe the group. {remedy} groupName, groupDisplayName, groupType and membershipRule out.",
                members.path(name),
            )))
        }
        None => Ok(()),
    }
}

/// Reads the two members of a filter, which must be sent together.
fn filter(members: &mut ObjectReader) -> Result<Option<Option<Filter>>, ApiError> {
    const ID: &str = "deviceAndAppManagementAssignmentFilterId";
    const TYPE: &str = "deviceAndAppManagementAssignmentFilterType";
    // Exports write "no filter" as null, as an empty text or as the zero GUID.
    let id = members.nullable_string(ID)?.map(|id| id.filter(|id| !key::is_none(id)));
    let filter_type = members.one_of(TYPE, ["none", "include", "exclude"])?;
    match (id, filter_type) {
        (None, None) => Ok(None),
        (None | Some(None), None | Some("none")) => Ok(Some(None)),
        (Some(Some(id)), Some(filter_type @ ("include" | "exclude"))) => {
            Ok(Some(Some(Filter { id: ExternalId::parse(id, &members.path(ID))?, filter_type })))
        }
        _ => Err(ApiError::model(format!(
            "The members '{}' and '{}' do not fit together. Send the id of a filter with include or exclude, or null with none.",
            members.path(ID),
            members.path(TYPE),
        ))),
    }
}

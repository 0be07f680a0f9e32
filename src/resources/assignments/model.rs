//! An assignment: read from Graph JSON, kept as a row. `representation.rs` writes it.
//!
//! Every [`NewAssignment`] and [`AssignmentPatch`] is valid, except for
//! rules that only the database can check: whether the configuration exists, and which targets
//! it already has.

use std::{
    fmt,
    future::{Ready, ready},
};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use uuid::Uuid;

use super::target::{self, Filter, Target};
use crate::{
    catalogue::{sent_types, version::Version},
    error::{ApiError, shorten},
    odata::{
        key::{self, ExternalId},
        members::ObjectReader,
    },
    resources::parent::ConfigurationId,
};

/// The type of an assignment.
pub const TYPE: &str = "deviceConfigurationAssignment";
/// The type of a group target in the form that only `/beta` has.
pub const GROUP_ASSIGNMENT_TYPE: &str = "deviceConfigurationGroupAssignment";

/// The key of an assignment. A key from a path may belong to no assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssignmentId(pub Uuid);

impl AssignmentId {
    /// Returns the path of the assignment below a version.
    pub fn path(self, configuration: ConfigurationId) -> String {
        format!("{}/assignments/{self}", configuration.path())
    }

    /// Returns the 404 of an assignment that the configuration does not have.
    pub fn not_found(key: impl fmt::Display) -> ApiError {
        ApiError::not_found(format!(
            "DeviceConfigurationAssignments not found: Assignment {key}. GET …/assignments lists the existing ones."
        ))
    }
}

impl fmt::Display for AssignmentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromRequest for AssignmentId {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let key = request.match_info().get("assignment").unwrap_or_default();
        ready(key::guid(key).map(Self).ok_or_else(|| Self::not_found(shorten(key))))
    }
}

/// A stored assignment: the columns that the API shows.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Assignment {
    /// Its key.
    pub id: Uuid,
    /// The configuration that is assigned.
    pub device_configuration_id: Uuid,
    /// The Graph type of the target, without its namespace.
    pub target_type: String,
    /// The group of a group target.
    pub group_id: Option<String>,
    /// The collection of a Configuration Manager target.
    pub collection_id: Option<String>,
    /// The assignment filter.
    pub filter_id: Option<String>,
    /// `none`, `include` or `exclude`.
    pub filter_type: String,
    /// `apply` or `remove`.
    pub intent: String,
    /// `direct` or `policySets`.
    pub source: String,
    /// The id of the source of the assignment. `None` means the configuration itself.
    pub source_id: Option<String>,
}

/// An assignment that a client creates.
#[derive(Debug)]
pub struct NewAssignment {
    /// The client's id. `None`: the service generates one.
    pub id: Option<Uuid>,
    /// The target of the assignment.
    pub target: Target,
    beta: BetaMembers,
}

/// The members that `/beta` adds. `None`: the client did not send the member. `Some(None)`: the
/// client sent null.
#[derive(Debug, Default)]
struct BetaMembers {
    filter: Option<Option<Filter>>,
    intent: Option<&'static str>,
    source: Option<&'static str>,
    source_id: Option<Option<ExternalId>>,
}

impl BetaMembers {
    fn parse(members: &mut ObjectReader, filter: Option<Option<Filter>>) -> Result<Self, ApiError> {
        if members.version() == Version::V1 {
            return Ok(Self::default());
        }
        let source_id = members.nullable_string("sourceId")?;
        let source_id = source_id.map(|id| id.map(|id| ExternalId::parse(id, &members.path("sourceId"))).transpose());
        Ok(Self {
            filter,
            intent: members.one_of("intent", ["apply", "remove"])?,
            source: members.one_of("source", ["direct", "policySets"])?,
            source_id: source_id.transpose()?,
        })
    }

    fn write(&self, row: &mut Assignment) {
        if let Some(filter) = &self.filter {
            row.filter_id = filter.as_ref().map(|filter| filter.id.to_string());
            row.filter_type = filter.as_ref().map_or("none", |filter| filter.filter_type).to_owned();
        }
        if let Some(intent) = self.intent {
            row.intent = intent.to_owned();
        }
        if let Some(source) = self.source {
            row.source = source.to_owned();
        }
        if let Some(source_id) = &self.source_id {
            row.source_id = source_id.as_ref().map(ExternalId::to_string);
        }
    }
}

/// Refuses an object of another type.
///
/// # Errors
/// 400 that names the type.
pub fn check_type(members: &mut ObjectReader, expected: &'static str) -> Result<(), ApiError> {
    match members.string("@odata.type")? {
        Some(odata_type) => members.located(sent_types::known(&odata_type, expected)).map(drop),
        None => Ok(()),
    }
}

fn missing_target(members: &ObjectReader) -> ApiError {
    members.missing("target", ". An assignment needs a target.")
}

impl NewAssignment {
    /// # Errors
    /// 400 that names the wrong member.
    pub fn parse(mut members: ObjectReader) -> Result<Self, ApiError> {
        let id = key::client_id(&mut members)?;
        Ok(Self { id, ..Self::parse_without_id(members)? })
    }

    /// Returns an assignment to this target, with no other member.
    pub fn of(target: Target) -> Self {
        Self { id: None, target, beta: BetaMembers::default() }
    }

    /// Reads an assignment whose id was taken already.
    ///
    /// # Errors
    /// 400 that names the wrong member.
    pub fn parse_without_id(mut members: ObjectReader) -> Result<Self, ApiError> {
        check_type(&mut members, TYPE)?;
        let Some(target) = members.object("target", target::TYPE)? else { return Err(missing_target(&members)) };
        let (target, filter) = Target::parse(target)?;
        let beta = BetaMembers::parse(&mut members, filter)?;
        members.reject_unread()?;
        Ok(Self { id: None, target, beta })
    }

    /// Returns the row with the key `id` below `configuration`.
    pub fn row(&self, configuration: ConfigurationId, id: AssignmentId) -> Assignment {
        let mut row = Assignment {
            id: id.0,
            device_configuration_id: configuration.0,
            target_type: String::new(),
            group_id: None,
            collection_id: None,
            filter_id: None,
            filter_type: "none".to_owned(),
            intent: "apply".to_owned(),
            source: "direct".to_owned(),
            source_id: None,
        };
        row.set_target(&self.target);
        self.beta.write(&mut row);
        row.normalize_source();
        row
    }

    /// Checks the members that only `/beta` has, and ignores them.
    ///
    /// # Errors
    /// 400 that names the wrong member.
    pub fn ignore_beta_members(members: &mut ObjectReader) -> Result<(), ApiError> {
        BetaMembers::parse(members, None).map(drop)
    }

    /// Returns the stored assignment with the opposite inclusion of its group. It has the filter
    /// that the client sent, or none: a filter that narrowed an inclusion would narrow the
    /// exclusion.
    pub fn turn(&self, stored: &Assignment) -> Assignment {
        self.merge(&Assignment { filter_id: None, filter_type: "none".to_owned(), ..stored.clone() })
    }

    /// Returns the stored assignment with the target and with the members that the client sent,
    /// except the source of a direct assignment. An element that was read from another
    /// configuration names that configuration as its source.
    pub fn merge(&self, stored: &Assignment) -> Assignment {
        let merged = self.apply(stored);
        match (merged.source.as_str(), stored.source.as_str()) {
            ("direct", "direct") => Assignment { source_id: stored.source_id.clone(), ..merged },
            _ => merged.of_its_own(),
        }
    }

    /// Returns the stored assignment with the target and with the members that the client sent.
    fn apply(&self, stored: &Assignment) -> Assignment {
        let mut changed = stored.clone();
        changed.set_target(&self.target);
        self.beta.write(&mut changed);
        changed.normalize_source();
        changed
    }
}

/// The changes that a client sends. Members that are not sent stay as they are.
#[derive(Debug)]
pub struct AssignmentPatch {
    /// The new target.
    pub target: Option<Target>,
    beta: BetaMembers,
}

impl AssignmentPatch {
    /// # Errors
    /// 400 that names the wrong member.
    pub fn parse(mut members: ObjectReader) -> Result<Self, ApiError> {
        check_type(&mut members, TYPE)?;
        // The key is in the path. A client that sends back what it has read also sends the id,
        // which is ignored.
        key::ignore_id(&mut members)?;
        let (target, filter) = match members.object("target", target::TYPE)? {
            Some(target) => Target::parse(target).map(|(target, filter)| (Some(target), filter))?,
            None => (None, None),
        };
        let beta = BetaMembers::parse(&mut members, filter)?;
        members.reject_unread()?;
        Ok(Self { target, beta })
    }

    /// Returns the changed assignment.
    pub fn apply(&self, stored: &Assignment) -> Assignment {
        let mut changed = stored.clone();
        if let Some(target) = &self.target {
            changed.set_target(target);
        }
        self.beta.write(&mut changed);
        changed.normalize_source();
        changed
    }
}

impl Assignment {
    /// Returns it with its own configuration as the source of a direct assignment. Elements that
    /// were read from another configuration name that one.
    pub fn of_its_own(self) -> Self {
        if self.source == "direct" { Self { source_id: None, ..self } } else { self }
    }

    /// Returns whether the two have the same target.
    pub fn has_target_of(&self, other: &Self) -> bool {
        self.target_columns() == other.target_columns()
    }

    /// Returns the columns of the target: its type, its group and its collection.
    pub fn target_columns(&self) -> (&str, Option<&str>, Option<&str>) {
        (&self.target_type, self.group_id.as_deref(), self.collection_id.as_deref())
    }

    /// Returns whether the target is the base target, which names nothing.
    pub fn has_base_target(&self) -> bool {
        self.target_type == target::TYPE
    }

    /// Returns whether it has this target.
    pub fn has_target(&self, target: &Target) -> bool {
        self.target_columns() == target.columns_as_text()
    }

    /// Returns the key of its target, as [`Target::key`] does.
    pub fn target_key(&self) -> Option<String> {
        Target::key_of_columns(self.target_columns())
    }

    fn set_target(&mut self, target: &Target) {
        let (target_type, group_id, collection_id) = target.columns();
        self.target_type = target_type.to_owned();
        self.group_id = group_id.map(ExternalId::to_string);
        self.collection_id = collection_id.map(ExternalId::to_string);
    }

    /// Stores the source of a direct assignment as null when it is the configuration itself. So
    /// a client that sends back what it has read gets the same row.
    fn normalize_source(&mut self) {
        if self.source == "direct"
            && self.source_id.as_deref().and_then(key::guid) == Some(self.device_configuration_id)
        {
            self.source_id = None;
        }
    }
}

//! A status: read from Graph JSON, kept as a row. `representation.rs` writes it.
//!
//! The three collections differ only in their columns. Each column is a property of the
//! catalogue, written in snake case.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use anyhow::anyhow;
use serde_json::{Map, Value};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::{
    catalogue::{
        Primitive, Property, Type, ValueType, rendering, sent_types,
        validation::{self, Path, TYPE},
        version::Version,
    },
    database::{self, timestamp::Timestamp},
    error::{ApiError, shorten},
    odata::{key, members::ObjectReader},
    resources::parent::ConfigurationId,
};

/// One of the three collections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusKind {
    /// `deviceStatuses`
    Device,
    /// `userStatuses`
    User,
    /// `deviceSettingStateSummaries`
    Setting,
}

impl StatusKind {
    /// Returns the segment of the collection in a path.
    pub fn segment(self) -> &'static str {
        match self {
            Self::Device => "deviceStatuses",
            Self::User => "userStatuses",
            Self::Setting => "deviceSettingStateSummaries",
        }
    }

    /// Returns the type of the elements.
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Device => "deviceConfigurationDeviceStatus",
            Self::User => "deviceConfigurationUserStatus",
            Self::Setting => "settingStateDeviceSummary",
        }
    }

    /// Returns the table of the rows.
    pub fn table(self) -> &'static str {
        match self {
            Self::Device => "device_configuration_device_statuses",
            Self::User => "device_configuration_user_statuses",
            Self::Setting => "device_configuration_setting_summaries",
        }
    }

    fn of_type(self) -> Result<&'static Type, ApiError> {
        let missing = || ApiError::internal(anyhow!("the catalogue has no type {}", self.type_name()));
        Type::find(self.type_name()).ok_or_else(missing)
    }
}

/// Returns the segment after the configuration in the pattern of the route.
fn segment(request: &HttpRequest) -> String {
    let pattern = request.match_pattern().unwrap_or_default();
    pattern.split("{configuration}/").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default().to_owned()
}

impl FromRequest for StatusKind {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let segment = segment(request);
        let kind = [Self::Device, Self::User, Self::Setting].into_iter().find(|kind| kind.segment() == segment);
        ready(kind.ok_or_else(|| ApiError::internal(anyhow!("the route '{segment}' names no collection of statuses"))))
    }
}

/// The key of a status. A key from a path may belong to no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusId(pub Uuid);

impl StatusId {
    /// Returns the 404 of a status that does not exist.
    pub fn not_found(key: impl std::fmt::Display) -> ApiError {
        ApiError::not_found(format!(
            "The collection has no element with the id '{key}'. GET the collection to list the existing ones."
        ))
    }
}

impl FromRequest for StatusId {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let key = request.match_info().get("status").unwrap_or_default();
        ready(key::guid(key).map(Self).ok_or_else(|| Self::not_found(shorten(key))))
    }
}

/// A status, with its properties under Graph's names.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The collection of the status.
    pub kind: StatusKind,
    /// The key.
    pub id: Uuid,
    pub(super) properties: Map<String, Value>,
}

/// The members of a status that a client sent. Members that are not sent are absent.
#[derive(Debug)]
pub struct SentStatus {
    /// The client's id. `None`: the service generates one.
    pub id: Option<Uuid>,
    properties: Map<String, Value>,
}

impl SentStatus {
    /// # Errors
    /// 400 that names the wrong member. `/beta` also refuses unknown members here, because each
    /// member needs a column.
    pub fn parse(kind: StatusKind, mut members: ObjectReader) -> Result<Self, ApiError> {
        if let Some(odata_type) = members.string(TYPE)? {
            members.located(sent_types::known(&odata_type, kind.type_name()))?;
        }
        let (id, version, of) = (key::client_id(&mut members)?, members.version(), kind.of_type()?);
        let mut properties = members.rest()?;
        if let Some(name) = properties.keys().find(|name| of.property(name, version).is_none()) {
            return Err(validation::unknown(name, of, Path::Body, version));
        }
        validation::check(&mut properties, of, Path::Body, version)?;
        for (name, value) in properties.iter().filter(|(name, _)| name.ends_with("Count")) {
            if value.as_i64().is_some_and(|count| count < 0) {
                return Err(ApiError::model(format!("The member '{name}' is {value}. Send a count of 0 or more.")));
            }
        }
        Ok(Self { id, properties })
    }
}

impl Status {
    /// Returns a new status. Properties that were not sent have the values that Graph shows
    /// for unset ones. The last report is now.
    ///
    /// # Errors
    /// 500 when the catalogue lacks the type.
    pub fn new(kind: StatusKind, id: Uuid, sent: &SentStatus) -> Result<Self, ApiError> {
        let of = kind.of_type()?;
        let mut properties = sent.properties.clone();
        if let Some(property) = of.property("lastReportedDateTime", Version::V1) {
            let now = || OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default().into();
            properties.entry(property.name.clone()).or_insert_with(now);
        }
        let all = serde_json::to_value(rendering::Properties { of, values: &properties, version: Version::Beta });
        match all.map_err(ApiError::internal)? {
            Value::Object(properties) => Ok(Self { kind, id, properties }),
            _ => Err(ApiError::internal(anyhow!("a status is an object"))),
        }
    }

    /// Returns the status changed by the members that were sent.
    pub fn changed(&self, sent: &SentStatus) -> Self {
        let mut changed = self.clone();
        changed.properties.extend(sent.properties.clone());
        changed
    }

    /// Returns the row as JSON, with a member for each column.
    pub fn row(&self, configuration: ConfigurationId) -> Value {
        let of = Type::find(self.kind.type_name());
        let property = |name: &str| of.and_then(|of| of.property(name, Version::Beta));
        let is_time = |name: &str| property(name).is_some_and(is_time);
        let columns = self.properties.iter().map(|(name, value)| match value.as_i64() {
            // A negative count that is older than the constraint.
            Some(..0) if name.ends_with("Count") => (column(name), 0.into()),
            _ if is_time(name) => (column(name), in_microseconds(value)),
            _ => (column(name), value.clone()),
        });
        let mut row: Map<_, _> = columns.collect();
        row.insert("id".to_owned(), self.id.to_string().into());
        row.insert("device_configuration_id".to_owned(), configuration.to_string().into());
        row.into()
    }

    /// Reads a row in the JSON of `to_jsonb`.
    ///
    /// # Errors
    /// 500 for a row that is not a status.
    pub fn of_row(kind: StatusKind, row: &Value) -> Result<Self, ApiError> {
        let of = kind.of_type()?;
        let id =
            row["id"].as_str().and_then(key::guid).ok_or_else(|| ApiError::internal(anyhow!("a row has no id")))?;
        let properties = of.properties(Version::Beta).filter(|property| property.name != "id");
        let mut is_clamped = false;
        let mut stored = |property: &Property| match row[column(&property.name)].clone() {
            Value::String(text) if is_time(property) && validation::date_time(&text).is_none() => {
                is_clamped = true;
                nearest_time(&text).into()
            }
            value => value,
        };
        let mut properties: Map<_, _> = properties.map(|property| (property.name.clone(), stored(property))).collect();
        if is_clamped {
            database::report_unreadable(kind.table(), id);
        }
        // Converts times that have an offset.
        validation::check(&mut properties, of, Path::Body, Version::Beta)?;
        Ok(Self { kind, id, properties })
    }

    /// Returns the reason why the API would refuse the values of a row, or `None`.
    pub fn refusal_of(kind: StatusKind, row: &Value) -> Option<String> {
        let of = kind.of_type().ok()?;
        for property in of.properties(Version::Beta) {
            match &row[column(&property.name)] {
                Value::String(text) if is_time(property) && validation::date_time(text).is_none() => {
                    return Some(format!(
                        "the member '{}' has the time '{text}', which JSON cannot represent",
                        property.name
                    ));
                }
                Value::Number(count) if property.name.ends_with("Count") && count.as_i64() < Some(0) => {
                    return Some(format!("the count '{}' is {count}", property.name));
                }
                _ => {}
            }
        }
        Self::of_row(kind, row).err().map(|refusal| refusal.to_string())
    }
}

/// Returns the column of a property.
fn column(property: &str) -> String {
    let mut column = String::new();
    for letter in property.chars() {
        if letter.is_ascii_uppercase() {
            column.push('_');
        }
        column.push(letter.to_ascii_lowercase());
    }
    column
}

/// Cuts a time to microseconds. PostgreSQL would round it, and the last moment of the year 9999
/// would get a year with five digits.
fn in_microseconds(time: &Value) -> Value {
    match time.as_str().and_then(|text| text.strip_suffix('Z')?.split_once('.')) {
        Some((seconds, fraction)) if fraction.len() == 7 => format!("{seconds}.{}Z", &fraction[..6]).into(),
        _ => time.clone(),
    }
}

fn is_time(property: &Property) -> bool {
    matches!(property.value_type, ValueType::Primitive(Primitive::DateTimeOffset))
}

/// Returns the nearest time that JSON can hold, for a time that it cannot hold: infinity, a
/// year before 1, or a year after 9999.
fn nearest_time(text: &str) -> &'static str {
    match text.ends_with(" BC") || text == "-infinity" {
        true => "0001-01-01T00:00:00Z",
        false => "9999-12-31T23:59:59.999999Z",
    }
}

/// The counts of the rows of a configuration.
pub struct Overview {
    /// The version of the configuration.
    pub version: i32,
    /// The time of the last report, else of the last change of the configuration.
    pub last_update_date_time: Timestamp,
    /// The number of compliant and remediated rows.
    pub success: i64,
    /// The number of rows that are not compliant.
    pub failed: i64,
    /// The number of rows in error.
    pub error: i64,
    /// The number of rows in conflict.
    pub conflict: i64,
    /// The number of rows that are not applicable.
    pub not_applicable: i64,
    /// The number of rows whose state is unknown or not assigned.
    pub pending: i64,
}

/// One of the two overviews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverviewKind {
    /// `deviceStatusOverview`
    Device,
    /// `userStatusOverview`
    User,
}

impl OverviewKind {
    /// Returns its segment in a path, and its type.
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Device => ("deviceStatusOverview", "deviceConfigurationDeviceOverview"),
            Self::User => ("userStatusOverview", "deviceConfigurationUserOverview"),
        }
    }
}

impl FromRequest for OverviewKind {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let segment = segment(request);
        let kind = [Self::Device, Self::User].into_iter().find(|kind| kind.names().0 == segment);
        ready(kind.ok_or_else(|| ApiError::internal(anyhow!("the route '{segment}' names no overview"))))
    }
}

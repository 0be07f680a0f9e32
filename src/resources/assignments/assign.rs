//! The action `assign`: changes the set of a configuration, or shows what it would change.

use std::collections::HashSet;

use actix_web::HttpResponse;
use serde::Serialize;
use uuid::Uuid;

use super::{
    etags::{find_digest, lock_configuration, set_etag},
    handlers::set_path,
    plan::{Change, Instructions, Plan},
    representation::{AssignmentJson, TargetJson},
    sql,
};
use crate::{
    auth::Caller,
    database::connections::Connections,
    error::ApiError,
    odata::{body::Body, etag::Conditions, links::Links, members::ObjectReader},
    resources::parent::ConfigurationId,
};

/// A request to `assign`.
#[derive(Debug)]
struct Request {
    instructions: Instructions,
    /// Whether the answer has `changes`: the request has `mode`, `onConflict` or `validateOnly`.
    shows_changes: bool,
    /// Whether the request only asks for the plan.
    validate_only: bool,
}

impl Request {
    fn parse(mut members: ObjectReader) -> Result<Self, ApiError> {
        let (instructions, has_parameters) = Instructions::parse(&mut members)?;
        let validate_only = members.boolean("validateOnly")?;
        members.reject_unread()?;
        Ok(Self {
            instructions,
            shows_changes: has_parameters || validate_only.is_some(),
            validate_only: validate_only.unwrap_or_default(),
        })
    }
}

/// `POST …/deviceConfigurations/{id}/assign` and `…/microsoft.graph.assign`
///
/// Changes the set in one transaction. Without `mode` the targets of the request replace the
/// whole set. Two concurrent calls leave the result of one after the other, never a mixture.
///
/// <https://learn.microsoft.com/graph/api/intune-deviceconfig-deviceconfiguration-assign>
///
/// # Errors
/// 409 when the mode is `add` and a group is stored with the opposite inclusion. 412 when the
/// condition of the request does not hold.
pub async fn assign(
    connections: Connections,
    caller: Caller,
    links: Links,
    configuration: ConfigurationId,
    conditions: Conditions,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let request = Request::parse(body.members("assign"))?;
    if request.validate_only {
        return show_plan(&connections, &links, configuration, &conditions, &request.instructions).await;
    }
    let mut transaction = connections.begin().await?;
    let current = lock_configuration(&mut transaction, configuration, &conditions).await?;
    current.map_or(Ok(()), |current| conditions.check(&current))?;
    let before = sql::list(&mut transaction, configuration).await?;
    let plan = Plan::new(configuration, before, &request.instructions, links.version)?;
    let difference = plan.difference();
    let written = match difference.is_empty() {
        true => Vec::new(),
        false => {
            sql::write(&mut transaction, configuration, &difference, caller.id()).await?;
            sql::list(&mut transaction, configuration).await?
        }
    };
    let mut stored: Vec<_> = if difference.is_empty() { plan.kept() } else { written.iter().collect() };
    if request.shows_changes {
        // In the order of the plan: new assignments stand behind the others.
        let created: HashSet<_> = plan.created().map(|row| row.id).collect();
        stored.sort_by_key(|row| created.contains(&row.id));
    }
    if stored.len() > sql::MAX_COMPUTED {
        // Store the sums of the digest first. `set_etag` then reads them and computes nothing.
        sql::keep_digest(&mut transaction, configuration).await?;
    }
    let etag = set_etag(&mut transaction, configuration).await?;
    transaction.commit(set_path(configuration)).await?;
    Ok(etag.on(HttpResponse::Ok().json(Assigned {
        context: context(&links),
        value: stored.iter().map(|row| row.shown(&links)).collect(),
        changes: request.shows_changes.then(|| plan.shown(&links)),
    })))
}

/// Answers what the call would do, and the ETag of the set that the plan was made from. Reads
/// one snapshot, locks no row and writes nothing.
///
/// # Errors
/// Those of the call without `validateOnly`.
async fn show_plan(
    connections: &Connections,
    links: &Links,
    configuration: ConfigurationId,
    conditions: &Conditions,
    instructions: &Instructions,
) -> Result<HttpResponse, ApiError> {
    let mut snapshot = connections.begin_snapshot().await?;
    let etag = find_digest(&mut snapshot, configuration).await?.etag();
    conditions.check(&etag)?;
    let stored = sql::list(&mut snapshot, configuration).await?;
    drop(snapshot);
    let plan = Plan::new(configuration, stored, instructions, links.version)?;
    Ok(etag.on(HttpResponse::Ok().json(Assigned {
        context: context(links),
        value: plan.result_shown(links),
        changes: Some(plan.shown(links)),
    })))
}

fn context(links: &Links) -> String {
    links.context("Collection(microsoft.graph.deviceConfigurationAssignment)")
}

/// The answer: the resulting set and, where the request has a new parameter, the changes.
#[derive(Serialize)]
struct Assigned<'a> {
    #[serde(rename = "@odata.context")]
    context: String,
    value: Vec<AssignmentJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<ChangeJson<'a>>>,
}

/// A change in an answer.
#[derive(Serialize)]
struct ChangeJson<'a> {
    action: &'static str,
    before: Option<AssignmentJson<'a>>,
    after: Option<AssignmentJson<'a>>,
    /// The target that the request wanted to remove and the set does not have.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<TargetJson<'a>>,
    /// The same for an id.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
}

impl<'a> ChangeJson<'a> {
    fn of(action: &'static str, before: Option<AssignmentJson<'a>>, after: Option<AssignmentJson<'a>>) -> Self {
        Self { action, before, after, target: None, id: None }
    }
}

impl Plan {
    /// Returns the resulting set in an answer. A new assignment has no id yet.
    fn result_shown(&self, links: &Links) -> Vec<AssignmentJson<'_>> {
        let kept = self.kept().into_iter().map(|row| row.shown(links));
        kept.chain(self.created().map(|row| row.shown_without_id(links))).collect()
    }

    /// Returns the changes in an answer. A new assignment has no id there, so that the plan and
    /// the call show the same.
    fn shown(&self, links: &Links) -> Vec<ChangeJson<'_>> {
        self.changes.iter().map(|change| change.shown(links)).collect()
    }
}

impl Change {
    fn shown(&self, links: &Links) -> ChangeJson<'_> {
        match self {
            Self::Create(after) => ChangeJson::of("create", None, Some(after.shown_without_id(links))),
            Self::Update { before, after } => {
                ChangeJson::of("update", Some(before.shown(links)), Some(after.shown(links)))
            }
            Self::Delete(before) => ChangeJson::of("delete", Some(before.shown(links)), None),
            Self::Keep(row) => ChangeJson::of("no-op", Some(row.shown(links)), Some(row.shown(links))),
            Self::AbsentTarget(row) => {
                ChangeJson { target: Some(row.shown_target(links)), ..ChangeJson::of("no-op", None, None) }
            }
            Self::AbsentId(id) => ChangeJson { id: Some(*id), ..ChangeJson::of("no-op", None, None) },
        }
    }
}

//! What an `assign` does to the set of a configuration.
//!
//! The plan is computed from the request and the stored set. A call with `validateOnly` shows
//! the plan, and any other call writes it, so the two cannot differ.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{
    difference::Difference,
    model::{Assignment, AssignmentId, NewAssignment},
    set::AssignmentSet,
    unassigned::Unassigned,
};
use crate::{
    catalogue::version::Version, error::ApiError, odata::members::ObjectReader, resources::parent::ConfigurationId,
};

/// What the targets of a request mean for the stored set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// They are the whole set. Every other assignment is deleted.
    Replace,
    /// They are added. Every other assignment stays.
    Add,
    /// They are removed. Every other assignment stays.
    Remove,
}

/// What happens to a group that is stored with the opposite inclusion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnConflict {
    /// The call is refused.
    Refuse,
    /// The stored assignment is changed and keeps its id.
    Change,
}

/// The parameters and the targets of a request to `assign`.
#[derive(Debug)]
pub struct Instructions {
    mode: Mode,
    on_conflict: Option<OnConflict>,
    targets: Targets,
}

#[derive(Debug)]
enum Targets {
    /// The targets to assign.
    Assigned(AssignmentSet),
    /// The targets, or the ids, to remove.
    Unassigned(Vec<Unassigned>),
}

impl Instructions {
    /// Reads `mode`, `onConflict` and the targets. Also returns whether the request has
    /// `mode` or `onConflict`.
    ///
    /// # Errors
    /// 400 that names the wrong member.
    pub fn parse(members: &mut ObjectReader) -> Result<(Self, bool), ApiError> {
        let mode = members.one_of("mode", ["replace", "add", "remove"])?;
        let on_conflict = members.one_of("onConflict", ["refuse", "change"])?;
        let has_parameters = mode.is_some() || on_conflict.is_some();
        let on_conflict =
            on_conflict.map(|name| if name == "change" { OnConflict::Change } else { OnConflict::Refuse });
        let (mode, reason) = match mode {
            Some("add") => (Mode::Add, ". Send the targets to add in it."),
            Some("remove") => (Mode::Remove, ". Send the targets to remove in it, or the ids of the assignments."),
            _ => (
                Mode::Replace,
                ". Send the whole set of assignments in it; an empty array removes every assignment. To keep the rest, send 'mode' with 'add'.",
            ),
        };
        let targets = match mode {
            Mode::Remove if on_conflict.is_some() => {
                return Err(ApiError::model(
                    "The member 'onConflict' has no meaning with the mode 'remove'. Leave it out.",
                ));
            }
            Mode::Remove => Targets::Unassigned(Unassigned::parse_all(members, reason)?),
            Mode::Replace | Mode::Add => Targets::Assigned(AssignmentSet::parse(members, reason)?),
        };
        Ok((Self { mode, on_conflict, targets }, has_parameters))
    }
}

/// What happens to one assignment.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// A new assignment, with the id that it is stored under.
    Create(Assignment),
    /// An assignment whose members change. It keeps its id.
    Update {
        /// The stored assignment.
        before: Box<Assignment>,
        /// The assignment as it will be stored.
        after: Box<Assignment>,
    },
    /// An assignment that is deleted.
    Delete(Assignment),
    /// A named assignment that stays as it is.
    Keep(Assignment),
    /// A target to remove that the set does not have, as a row that is not stored.
    AbsentTarget(Assignment),
    /// An id to remove that the set does not have.
    AbsentId(Uuid),
}

/// What an `assign` does to the set of one configuration.
#[derive(Debug)]
pub struct Plan {
    /// An entry for each assignment that the request names or changes: first those that are
    /// stored, by id, and then the others in the order of the request.
    pub changes: Vec<Change>,
    /// The assignments that the request does not name.
    untouched: Vec<Assignment>,
}

impl Plan {
    /// Compares the stored set of a configuration, in the order of its ids, with the request.
    ///
    /// # Errors
    /// 409 when the mode is `add` and the configuration includes a group that the request
    /// excludes, or the other way round.
    pub fn new(
        configuration: ConfigurationId,
        stored: Vec<Assignment>,
        instructions: &Instructions,
        version: Version,
    ) -> Result<Self, ApiError> {
        match &instructions.targets {
            Targets::Unassigned(unassigned) => Ok(Self::remove(configuration, stored, unassigned)),
            Targets::Assigned(set) => Self::assign(configuration, stored, instructions, set, version),
        }
    }

    fn assign(
        configuration: ConfigurationId,
        stored: Vec<Assignment>,
        instructions: &Instructions,
        set: &AssignmentSet,
        version: Version,
    ) -> Result<Self, ApiError> {
        let places: HashMap<_, _> = set.0.iter().enumerate().map(|(place, new)| (new.target.key(), place)).collect();
        let mut plan = Self { changes: Vec::new(), untouched: Vec::new() };
        let mut named = HashSet::new();
        for before in stored {
            let place = before.target_key().and_then(|key| places.get(&Some(key)).copied());
            let new = place.map(|place| &set.0[place]);
            match (new, instructions.mode) {
                (Some(new), _) if before.has_target(&new.target) => {
                    named.extend(place);
                    plan.changes.push(changed(before, |before| instructions.merge(new, before, version)));
                }
                (Some(new), _) if instructions.on_conflict == Some(OnConflict::Change) => {
                    named.extend(place);
                    plan.changes.push(changed(before, |before| new.turn(before)));
                }
                (Some(new), mode) if mode == Mode::Add || instructions.on_conflict.is_some() => {
                    return Err(new.target.opposite(before.id));
                }
                (_, Mode::Replace) => plan.changes.push(Change::Delete(before)),
                _ => plan.untouched.push(before),
            }
        }
        let missing = set.0.iter().enumerate().filter(|(place, _)| !named.contains(place));
        let create = |(_, new): (_, &NewAssignment)| {
            let row = new.row(configuration, AssignmentId(Uuid::now_v7()));
            Change::Create(if instructions.mode == Mode::Add { row.of_its_own() } else { row })
        };
        plan.changes.extend(missing.map(create));
        Ok(plan)
    }

    fn remove(configuration: ConfigurationId, stored: Vec<Assignment>, unassigned: &[Unassigned]) -> Self {
        let mut plan = Self { changes: Vec::new(), untouched: Vec::new() };
        let (mut ids, mut targets) = (HashMap::new(), HashMap::new());
        for (place, unassigned) in unassigned.iter().enumerate() {
            match unassigned {
                Unassigned::Id(id) => ids.insert(*id, place),
                Unassigned::Target(target) => targets.insert(target.columns_as_text(), place),
            };
        }
        let mut named = HashSet::new();
        for before in stored {
            let places = [ids.get(&before.id), targets.get(&before.target_columns())];
            match places {
                [None, None] => plan.untouched.push(before),
                // A request can name one assignment by its id and by its target.
                places => {
                    named.extend(places.into_iter().flatten().copied());
                    plan.changes.push(Change::Delete(before));
                }
            }
        }
        let absent = unassigned.iter().enumerate().filter(|(place, _)| !named.contains(place));
        plan.changes.extend(absent.map(|(_, unassigned)| match unassigned {
            Unassigned::Id(id) => Change::AbsentId(*id),
            Unassigned::Target(target) => {
                Change::AbsentTarget(NewAssignment::of(target.clone()).row(configuration, AssignmentId(Uuid::nil())))
            }
        }));
        plan
    }

    /// Returns the rows to write.
    pub fn difference(&self) -> Difference<'_> {
        let mut difference = Difference::default();
        for change in &self.changes {
            match change {
                Change::Create(after) => difference.added.push(after),
                Change::Update { after, .. } => difference.changed.push((**after).clone()),
                Change::Delete(before) => difference.deleted.push(before.id),
                Change::Keep(_) | Change::AbsentTarget(_) | Change::AbsentId(_) => {}
            }
        }
        difference
    }

    /// Returns the assignments of the resulting set that are stored already, in the order of
    /// their ids.
    pub fn kept(&self) -> Vec<&Assignment> {
        let named = self.changes.iter().filter_map(|change| match change {
            Change::Update { after, .. } => Some(&**after),
            Change::Keep(row) => Some(row),
            _ => None,
        });
        let mut kept: Vec<_> = named.chain(&self.untouched).collect();
        kept.sort_unstable_by_key(|row| row.id);
        kept
    }

    /// Returns the new assignments, in the order of the request.
    pub fn created(&self) -> impl Iterator<Item = &Assignment> {
        self.changes.iter().filter_map(|change| match change {
            Change::Create(after) => Some(after),
            _ => None,
        })
    }
}

impl Instructions {
    /// Returns the stored assignment as it is after the request, which has the same target.
    ///
    /// On `/v1.0` a client cannot name the members that `/beta` adds, so they stay. On `/beta`
    /// the mode `add` changes the members that the client sent, and `replace` all of them.
    fn merge(&self, new: &NewAssignment, before: &Assignment, version: Version) -> Assignment {
        let configuration = ConfigurationId(before.device_configuration_id);
        match (version.is_beta(), self.mode) {
            (false, _) => before.clone(),
            (true, Mode::Replace) => new.row(configuration, AssignmentId(before.id)),
            (true, _) => new.merge(before),
        }
    }
}

fn changed(before: Assignment, change: impl Fn(&Assignment) -> Assignment) -> Change {
    let after = change(&before);
    if after == before {
        Change::Keep(before)
    } else {
        Change::Update { before: Box::new(before), after: Box::new(after) }
    }
}

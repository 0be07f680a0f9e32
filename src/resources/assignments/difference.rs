//! The difference between the stored set of a configuration and the set that replaces it.
//!
//! The service computes the difference, because it can do so in linear time. In SQL the cost
//! depends on the plan: PostgreSQL compares each stored row with each new row when its
//! statistics say that there are few rows.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::model::Assignment;

/// The rows that a replacement writes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference<'a> {
    /// The ids of stored rows that are in no new row.
    pub deleted: Vec<Uuid>,
    /// The rows with a stored id whose members of `/beta` change.
    pub changed: Vec<Assignment>,
    /// The new rows that are not stored.
    pub added: Vec<&'a Assignment>,
}

impl<'a> Difference<'a> {
    /// Matches rows by their targets. A stored row whose target stays keeps its id. The base
    /// target names nothing, so a row with it matches no other row.
    ///
    /// The members that `/beta` adds change only when `beta` says that the rows have them.
    pub fn by_target(stored: &[Assignment], rows: &'a [Assignment], beta: bool) -> Self {
        let places: HashMap<_, _> = rows.iter().enumerate().map(|(place, row)| (row.target_columns(), place)).collect();
        let place_of =
            |stored: &Assignment| places.get(&stored.target_columns()).copied().filter(|_| !stored.has_base_target());
        Self::new(stored, rows, place_of, beta)
    }

    /// Matches rows by their ids. A stored row stays when a row has its id and its target.
    pub fn by_id(stored: &[Assignment], rows: &'a [Assignment]) -> Self {
        let places: HashMap<_, _> = rows.iter().enumerate().map(|(place, row)| (row.id, place)).collect();
        let has_same_target = |stored: &Assignment, place: usize| rows[place].has_target_of(stored);
        let place_of =
            |stored: &Assignment| places.get(&stored.id).copied().filter(|place| has_same_target(stored, *place));
        Self::new(stored, rows, place_of, true)
    }

    /// Compares each stored row with its row in `rows`. `place_of` returns the index of that row, or
    /// `None` when the stored row is deleted.
    fn new(
        stored: &[Assignment],
        rows: &'a [Assignment],
        place_of: impl Fn(&Assignment) -> Option<usize>,
        beta: bool,
    ) -> Self {
        let mut difference = Self::default();
        let mut kept = HashSet::new();
        for stored in stored {
            let Some(place) = place_of(stored) else {
                difference.deleted.push(stored.id);
                continue;
            };
            kept.insert(place);
            let changed = Assignment { id: stored.id, ..rows[place].clone() };
            if beta && changed != *stored {
                difference.changed.push(changed);
            }
        }
        let added = rows.iter().enumerate().filter(|(place, _)| !kept.contains(place));
        difference.added = added.map(|(_, row)| row).collect();
        difference
    }

    /// Returns whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.deleted.is_empty() && self.changed.is_empty() && self.added.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(group: Option<&str>) -> Assignment {
        let target_type = group.map_or(super::super::target::TYPE, |_| "groupAssignmentTarget");
        Assignment {
            id: Uuid::now_v7(),
            device_configuration_id: Uuid::nil(),
            target_type: target_type.to_owned(),
            group_id: group.map(str::to_owned),
            collection_id: None,
            filter_id: None,
            filter_type: "none".to_owned(),
            intent: "apply".to_owned(),
            source: "direct".to_owned(),
            source_id: None,
        }
    }

    fn removed(of: &Assignment) -> Assignment {
        Assignment { intent: "remove".to_owned(), ..of.clone() }
    }

    fn added<'a>(difference: &Difference<'a>) -> Vec<&'a str> {
        difference.added.iter().filter_map(|row| row.group_id.as_deref()).collect()
    }

    #[test]
    fn a_target_that_stays_keeps_its_id() {
        let stored = [row(Some("a")), row(Some("b")), row(None)];
        let excluded = Assignment { target_type: "exclusionGroupAssignmentTarget".to_owned(), ..row(Some("b")) };
        let rows = [removed(&row(Some("a"))), excluded, row(Some("c"))];
        for (beta, changed) in [(false, vec![]), (true, vec![removed(&stored[0])])] {
            let difference = Difference::by_target(&stored, &rows, beta);
            assert_eq!(difference.deleted, [stored[1].id, stored[2].id], "an exclusion is another target");
            assert_eq!(added(&difference), ["b", "c"]);
            assert_eq!(difference.changed, changed);
        }
        assert!(Difference::by_target(&stored[..2], &[row(Some("b")), row(Some("a"))], true).is_empty());
    }

    #[test]
    fn a_row_of_a_seed_stays_when_its_id_and_its_target_stay() {
        let stored = [row(Some("a")), row(Some("b")), row(None)];
        let moved = Assignment { id: stored[1].id, ..row(Some("c")) };
        let rows = [row(Some("a")), moved, removed(&stored[2])];
        let difference = Difference::by_id(&stored, &rows);
        assert_eq!(difference.deleted, [stored[0].id, stored[1].id]);
        assert_eq!(added(&difference), ["a", "c"]);
        assert_eq!(difference.changed, [removed(&stored[2])], "the base target is matched by its id");
        assert!(Difference::by_id(&stored, &stored).is_empty());
    }
}

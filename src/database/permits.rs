//! The permits of a worker: how many of its connections each class of work may use.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::work::WorkClass;

/// The permits of a worker.
#[derive(Clone)]
pub(super) struct Permits {
    search: Class,
    write: Class,
    write_group: Class,
    scarcity: Scarcity,
}

/// When a search of any worker last found few permits for searches.
#[derive(Clone, Default)]
pub(super) struct Scarcity(Arc<Mutex<Option<Instant>>>);

/// Allows one connection. Dropping it gives the permit back.
pub(super) type Permit = OwnedSemaphorePermit;

#[derive(Clone)]
struct Class {
    free: Arc<Semaphore>,
    size: usize,
}

impl Permits {
    /// Creates the permits of a pool of `size` connections.
    ///
    /// Searches and writes together use less than all connections, so that a read by key finds
    /// a free connection. Groups that write use half of the permits for writes, because they
    /// may keep them for long. With fewer than three connections, each class still has one
    /// permit.
    pub(super) fn new(size: usize, scarcity: Scarcity) -> Self {
        let (search, write, write_group) = (Class::new(size * 3 / 8), Class::new(size / 2), Class::new(size / 4));
        Self { search, write, write_group, scarcity }
    }

    /// Waits for the permits of this work. A read by key needs none.
    pub(super) async fn acquire(&self, work: WorkClass) -> Vec<Permit> {
        let mut permits = Vec::new();
        for class in self.classes(work).into_iter().flatten() {
            let free = class.free.clone().try_acquire_owned().ok();
            if work == WorkClass::Search && (free.is_none() || class.size > 1 && class.free.available_permits() == 0) {
                self.scarcity.record();
            }
            permits.extend(match free {
                Some(permit) => Some(permit),
                None => class.free.clone().acquire_owned().await.ok(),
            });
        }
        permits
    }

    /// Returns whether searches competed for permits after `since`: one had to wait, or took the
    /// last permit of several. The only permit of a class is always the last one.
    pub(super) fn were_scarce(&self, since: Instant) -> bool {
        self.scarcity.last().is_some_and(|last| last >= since)
    }

    /// Returns the classes in the order in which each request acquires their permits.
    fn classes(&self, work: WorkClass) -> [Option<&Class>; 2] {
        match work {
            WorkClass::Lookup => [None, None],
            WorkClass::Search => [Some(&self.search), None],
            WorkClass::Write => [Some(&self.write), None],
            WorkClass::WriteGroup => [Some(&self.write_group), Some(&self.write)],
        }
    }
}

impl Class {
    fn new(size: usize) -> Self {
        let size = size.max(1);
        Self { free: Arc::new(Semaphore::new(size)), size }
    }
}

impl Scarcity {
    fn record(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn last(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn groups_leave_permits_to_other_writes() {
        for size in [4, 5, 8, 16] {
            let permits = Permits::new(size, Scarcity::default());
            let acquire = |work| permits.acquire(work).now_or_never();
            let groups: Vec<_> = std::iter::from_fn(|| acquire(WorkClass::WriteGroup)).collect();
            assert_eq!(groups.len(), size / 4);
            let writes: Vec<_> = std::iter::from_fn(|| acquire(WorkClass::Write)).collect();
            assert_eq!(writes.len(), size / 2 - size / 4);
            assert!(acquire(WorkClass::Lookup).is_some() && acquire(WorkClass::Search).is_some());
            drop((groups, writes));
            assert!(acquire(WorkClass::WriteGroup).is_some());
        }
    }

    #[test]
    fn searches_that_compete_are_remembered() {
        let scarcity = Scarcity::default();
        let [one, other] = [16, 4].map(|size| Permits::new(size, scarcity.clone()));
        let since = Instant::now();
        let search = |permits: &Permits| permits.acquire(WorkClass::Search).now_or_never();
        let _first = search(&other).expect("the only permit of its worker");
        let _some: Vec<_> = (0..5).map(|_| search(&one).expect("a permit")).collect();
        assert!(!one.were_scarce(since) && !other.were_scarce(since));
        let _last = search(&one).expect("the last permit");
        assert!(other.were_scarce(since), "the workers share one database");
        let later = Instant::now();
        assert!(search(&other).is_none() && one.were_scarce(later));
    }
}

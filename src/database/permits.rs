//! The permits of a worker: how many of its connections each class of work may use.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::work::WorkClass;

/// The permits of a worker.
#[derive(Clone)]
pub(super) struct Permits {
    search: Class,
    write: Class,
    write_group: Class,
}

/// Allows one connection. Dropping it gives the permit back.
pub(super) type Permit = OwnedSemaphorePermit;

#[derive(Clone)]
struct Class {
    free: Arc<Semaphore>,
    size: usize,
    waiting: Arc<AtomicUsize>,
}

impl Permits {
    /// Creates the permits of a pool of `size` connections.
    ///
    /// Searches and writes together use less than all connections, so that a read by key finds
    /// a free connection. Groups that write use half of the permits for writes, because they
    /// may keep them for long.
    pub(super) fn new(size: usize) -> Self {
        Self { search: Class::new(size * 3 / 8), write: Class::new(size / 2), write_group: Class::new(size / 4) }
    }

    /// Waits for the permits of this work. A read by key needs none.
    pub(super) async fn acquire(&self, work: WorkClass) -> Vec<Permit> {
        let mut permits = Vec::new();
        for class in self.classes(work).into_iter().flatten() {
            permits.extend(class.acquire().await);
        }
        permits
    }

    /// Returns whether requests wait for permits of this work, or the next one would have to. A
    /// class of one permit is always used up by the request that asks.
    pub(super) fn are_scarce(&self, work: WorkClass) -> bool {
        let is_scarce = |class: &&Class| {
            class.waiting.load(Ordering::Relaxed) > 0 || class.size > 1 && class.free.available_permits() == 0
        };
        self.classes(work).iter().flatten().any(is_scarce)
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
        Self { free: Arc::new(Semaphore::new(size)), size, waiting: Arc::default() }
    }

    async fn acquire(&self) -> Option<Permit> {
        if let Ok(permit) = self.free.clone().try_acquire_owned() {
            return Some(permit);
        }
        let _waiting = Waiting::new(&self.waiting);
        self.free.clone().acquire_owned().await.ok()
    }
}

/// Counts a request while it waits, also when it gives up.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn groups_leave_permits_to_other_writes() {
        let permits = Permits::new(8);
        let acquire = |work| permits.acquire(work).now_or_never();
        let groups: Vec<_> = (0..2).map(|_| acquire(WorkClass::WriteGroup).expect("a permit")).collect();
        assert!(acquire(WorkClass::WriteGroup).is_none());
        assert!(!permits.are_scarce(WorkClass::Write));
        let writes: Vec<_> = (0..2).map(|_| acquire(WorkClass::Write).expect("a permit")).collect();
        assert!(acquire(WorkClass::Write).is_none() && permits.are_scarce(WorkClass::Write));
        assert!(acquire(WorkClass::Lookup).is_some() && !permits.are_scarce(WorkClass::Lookup));
        drop((groups, writes));
        assert!(acquire(WorkClass::WriteGroup).is_some());
    }

    #[test]
    fn one_permit_is_scarce_when_requests_wait_for_it() {
        let permits = Permits::new(2);
        let _searching = permits.acquire(WorkClass::Search).now_or_never().expect("a permit");
        assert!(!permits.are_scarce(WorkClass::Search));
        let mut waiting = Box::pin(permits.acquire(WorkClass::Search));
        assert!((&mut waiting).now_or_never().is_none() && permits.are_scarce(WorkClass::Search));
        drop(waiting);
        assert!(!permits.are_scarce(WorkClass::Search));
    }
}

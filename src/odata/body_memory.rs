//! Limits on the memory of request bodies: the number of values of one body, and a budget for
//! the bodies of all requests in progress.
//!
//! A small body can need much memory: each object of `[{"a":1},{"a":1},…]` has eight bytes as
//! text and some hundred as a value.

use std::sync::Arc;

use anyhow::ensure;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{config, error::ApiError, json};

/// The limits of `[server]` on the memory of bodies, shared by all workers.
#[derive(Clone)]
pub struct BodyMemory {
    /// The maximum number of values of a body.
    pub max_values: usize,
    /// One permit for each KiB.
    budget: Arc<Semaphore>,
}

/// The memory that one body may use. Dropping it returns the memory to the budget.
pub struct Reservation {
    budget: Arc<Semaphore>,
    permits: Option<OwnedSemaphorePermit>,
}

/// The bytes that a request can need for each byte of its body: the text itself, the text for
/// the database, and the text that the database answers, each in a buffer that may be half empty.
const PER_BYTE: usize = 6;
/// The bytes that a request can need for each value: the value that the client sent, the stored
/// value, and a copy while the two are compared.
const PER_VALUE: usize = 400;

/// A body that needs at most this memory in bytes needs no share of the budget. So requests with
/// large bodies cannot keep small requests out. `server.max_connections` limits the number of
/// small bodies.
const SMALL: usize = 64 << 10;

/// The memory for all bodies when the settings do not say it, unless the bodies are large.
const DEFAULT_BYTES: usize = 128 << 20;

/// Returns the memory in bytes that a request can need for a body of `bytes` with this number of
/// values.
fn needed(bytes: usize, values: usize) -> usize {
    bytes.saturating_mul(PER_BYTE).saturating_add(values.saturating_mul(PER_VALUE))
}

impl BodyMemory {
    /// Returns the limits of the settings.
    ///
    /// # Errors
    /// When the budget is too small for one of the largest bodies.
    pub fn of(settings: &config::Server) -> anyhow::Result<Self> {
        let max_values = settings.max_values();
        let largest = needed(settings.max_body_bytes, max_values);
        let bytes = settings.body_memory_bytes.unwrap_or(DEFAULT_BYTES.max(largest.saturating_mul(4)));
        ensure!(
            bytes >= largest,
            "server.body_memory_bytes is {bytes}, and one body of server.max_body_bytes with server.max_body_values can need {largest}; set it to {largest} or more, or leave it out"
        );
        Ok(Self::new(max_values, bytes))
    }

    /// Creates the budget. `max_values` is the limit for one body, `bytes` is the memory for
    /// all bodies.
    pub fn new(max_values: usize, bytes: usize) -> Self {
        Self { max_values, budget: Arc::new(Semaphore::new(bytes.div_ceil(1024).min(Semaphore::MAX_PERMITS))) }
    }

    /// Returns an empty reservation.
    pub fn reserve(&self) -> Reservation {
        Reservation { budget: self.budget.clone(), permits: None }
    }

    /// Reserves the memory that a whole body needs.
    ///
    /// # Errors
    /// 413 for too many values. 503 when the budget is used up.
    pub fn check(&self, body: &[u8], reservation: &mut Reservation) -> Result<(), ApiError> {
        let values = json::count_values(body);
        if values > self.max_values {
            return Err(ApiError::too_many_values(self.max_values));
        }
        reservation.grow_to(needed(body.len(), values))
    }
}

impl Reservation {
    /// Reserves more memory, up to this number of bytes in total.
    ///
    /// # Errors
    /// 503 when the budget is used up.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), ApiError> {
        let reserved = self.permits.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(1024).saturating_sub(reserved);
        if bytes <= SMALL || more == 0 {
            return Ok(());
        }
        let permits = u32::try_from(more).ok().and_then(|more| self.budget.clone().try_acquire_many_owned(more).ok());
        let permits = permits.ok_or_else(ApiError::too_many_bodies)?;
        match &mut self.permits {
            Some(reserved) => reserved.merge(permits),
            None => self.permits = Some(permits),
        }
        Ok(())
    }

    /// Returns the memory above this number of bytes to the budget.
    pub fn shrink_to(&mut self, bytes: usize) {
        let kept = if bytes <= SMALL { 0 } else { bytes.div_ceil(1024) };
        if let Some(permits) = &mut self.permits {
            drop(permits.split(permits.num_permits().saturating_sub(kept)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_reserved_once_and_returned() {
        let memory = BodyMemory::new(10, 640 << 10);
        let (mut one, mut other) = (memory.reserve(), memory.reserve());
        one.grow_to(100 << 10).expect("memory");
        one.grow_to(400 << 10).expect("memory");
        one.grow_to(100 << 10).expect("less than is reserved");
        assert!(other.grow_to(241 << 10).is_err());
        other.grow_to(240 << 10).expect("the rest");
        one.shrink_to(300 << 10);
        other.grow_to(340 << 10).expect("what the first one returned");
        drop(one);
        other.grow_to(640 << 10).expect("all of it");
        assert!(other.grow_to(usize::MAX).is_err());
    }

    #[test]
    fn large_bodies_do_not_keep_small_ones_out() {
        let memory = BodyMemory::new(10, 640 << 10);
        let (mut large, mut small) = (memory.reserve(), memory.reserve());
        large.grow_to(640 << 10).expect("all of it");
        small.grow_to(SMALL).expect("no share of the budget");
        let refusal = small.grow_to(SMALL + 1).expect_err("the budget is used up").to_string();
        assert!(refusal.contains("too many large bodies"), "{refusal}");
        large.shrink_to(SMALL);
        small.grow_to(640 << 10).expect("all of it");
    }

    #[test]
    fn a_body_with_too_many_values_is_refused_before_it_is_parsed() {
        let memory = BodyMemory::new(10, 64 << 10);
        let mut reservation = memory.reserve();
        memory.check(b"[1,2,3,4,5,6,7,8,9]", &mut reservation).expect("ten values");
        let refusal = memory.check(b"[1,2,3,4,5,6,7,8,9,0]", &mut reservation).expect_err("eleven values").to_string();
        assert!(refusal.contains("more than 10 JSON values"), "{refusal}");
    }
}

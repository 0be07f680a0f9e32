//! The number of connections of each client address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// The connections of all workers, counted by the address of the client.
#[derive(Clone)]
pub struct Addresses {
    max: usize,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection that counts for its address until it is dropped.
pub struct CountedAddress {
    address: IpAddr,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Addresses {
    /// Returns counts that allow `max` connections of one address. 0 means no limit.
    pub fn new(max: usize) -> Self {
        Self { max, counts: Arc::default() }
    }

    /// Counts a connection. Returns `None` when its address has too many, and `Some(None)` when
    /// connections are not counted.
    pub fn enter(&self, address: Option<IpAddr>) -> Option<Option<CountedAddress>> {
        let Some(address) = address.filter(|_| self.max > 0).map(network) else { return Some(None) };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Some(CountedAddress { address, counts: self.counts.clone() }))
    }
}

impl Drop for CountedAddress {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// Returns what counts as one client: an IPv4 address, or the /64 network of an IPv6 address,
/// because one machine has all addresses of such a network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

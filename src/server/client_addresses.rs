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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_a_64_network_has_a_bound() {
        let addresses = Addresses::new(2);
        let enter = |text: &str| addresses.enter(Some(text.parse().expect("an address")));
        let first = enter("2001:db8::1");
        let _second = enter("2001:db8::ffff:2");
        assert!(first.is_some() && enter("2001:db8::3").is_none());
        assert!(enter("2001:db8:0:1::1").is_some());
        drop(first);
        assert!(enter("2001:db8::3").is_some());

        let _both = [enter("192.0.2.1"), enter("::ffff:192.0.2.1")];
        assert!(enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
    }

    #[test]
    fn without_a_bound_nothing_is_counted() {
        let addresses = Addresses::new(0);
        assert!(matches!(addresses.enter(Some(IpAddr::from([192, 0, 2, 1]))), Some(None)));
        assert!(addresses.counts.lock().expect("no panic").is_empty());
    }
}

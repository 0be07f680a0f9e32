//! Logs at start where the API, the console and the database are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::routes::CONFIGURATIONS;
use crate::{catalogue::version::Version, database::Database};

/// Logs where the API, the console and the database are. Scripts read the first line: the URL
/// after `listening on` ends at a space or at the end of the line.
pub fn log(scheme: &str, address: SocketAddr, database: &Database) {
    let version = Version::V1.segment();
    tracing::info!("listening on {scheme}://{address} with the API at /{version}{CONFIGURATIONS}");
    tracing::info!("console: open {scheme}://{}/ in a browser", from_this_machine(address));
    match database.psql_command() {
        Some(command) => tracing::info!("database: {}, open it with {command}", database.description()),
        None => tracing::info!("database: {}", database.description()),
    }
}

/// Returns the address at which a browser on this machine reaches the service. A browser cannot
/// open the address that means all interfaces.
fn from_this_machine(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_not_sent_to_all_interfaces() {
        for (address, shown) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("127.0.0.1:9090", "127.0.0.1:9090"),
            ("192.0.2.7:443", "192.0.2.7:443"),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(from_this_machine(address).to_string(), shown);
        }
    }
}

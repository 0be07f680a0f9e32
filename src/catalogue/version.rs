//! The versions of the API and their mounts.

use actix_web::HttpRequest;
use serde::Deserialize;

/// A version of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `/v1.0`, and paths without a version, as in the documentation of Graph.
    V1,
    /// `/beta`.
    Beta,
    /// `/beta` of a service that also takes types of Graph that the catalogue lacks: see
    /// `catalogue.unknown_types` in `default.toml`.
    OpenBeta,
}

impl Version {
    /// Returns the version of the path of a request.
    pub fn of(request: &HttpRequest) -> Self {
        request.app_data().copied().unwrap_or(Self::V1)
    }

    /// Returns the segment of the version in a link.
    pub fn segment(self) -> &'static str {
        match self {
            Self::V1 => "v1.0",
            Self::Beta | Self::OpenBeta => "beta",
        }
    }

    /// Returns the version of `/beta` with this setting.
    pub fn beta(unknown_types: UnknownTypes) -> Self {
        match unknown_types {
            UnknownTypes::Refuse => Self::Beta,
            UnknownTypes::Accept => Self::OpenBeta,
        }
    }

    /// Returns whether this is `/beta`.
    pub fn is_beta(self) -> bool {
        self != Self::V1
    }
}

/// `catalogue.unknown_types`: what happens with a type that the catalogue lacks.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum UnknownTypes {
    /// It is refused.
    Refuse,
    /// `/beta` and `devicegraph seed` accept it unchecked.
    Accept,
}

/// The path prefixes of the resources, with their versions.
pub const MOUNTS: [(&str, Version); 3] = mounts(Version::Beta);

/// Returns the path prefixes of the resources, with their versions. `beta` is that of `/beta`.
pub const fn mounts(beta: Version) -> [(&'static str, Version); 3] {
    [("/v1.0", Version::V1), ("/beta", beta), ("", Version::V1)]
}

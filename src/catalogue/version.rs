//! The versions of the API and their mounts.

use actix_web::HttpRequest;

/// A version of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `/v1.0`, and paths without a version, as in the documentation of Graph.
    V1,
    /// `/beta`.
    Beta,
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
            Self::Beta => "beta",
        }
    }
}

/// The path prefixes of the resources, with their versions.
pub const MOUNTS: [(&str, Version); 3] = [("/v1.0", Version::V1), ("/beta", Version::Beta), ("", Version::V1)];

//! The versions of the API, and where the server mounts them.

use actix_web::HttpRequest;

/// A version of the API, as the route table mounts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `/v1.0`, and a path without a version, as the documented page has it.
    V1,
    /// `/beta`.
    Beta,
}

impl Version {
    /// What the route table says of the path of a request.
    pub fn of(request: &HttpRequest) -> Self {
        request.app_data().copied().unwrap_or(Self::V1)
    }

    /// Its segment in a link.
    pub fn segment(self) -> &'static str {
        match self {
            Self::V1 => "v1.0",
            Self::Beta => "beta",
        }
    }
}

/// Where the resources of a version are mounted.
pub const MOUNTS: [(&str, Version); 3] = [("/v1.0", Version::V1), ("/beta", Version::Beta), ("", Version::V1)];

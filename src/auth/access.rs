//! The access that a route requires.

use anyhow::Context;

/// The access that a route requires.
///
/// The permissions are those on the page of each operation in Graph's documentation, the least
/// first: <https://learn.microsoft.com/graph/permissions-reference>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// No token. The service ignores a token that is sent.
    Open,
    /// A valid token with any permissions.
    Token,
    /// A valid token, unless `auth.open` names the document.
    PublicDocument(PublicDocument),
    /// A token with permission to read configurations and their assignments.
    Read,
    /// A token with permission to change configurations and their assignments.
    ReadWrite,
}

/// A document about the service. It contains no stored data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicDocument {
    /// `/$metadata`, in every version.
    Metadata,
    /// `/openapi.json`
    OpenApi,
    /// `/docs` and the files of that page.
    Docs,
    /// `/metrics`
    Metrics,
}

impl PublicDocument {
    const ALL: [(&str, Self); 4] =
        [("metadata", Self::Metadata), ("openapi", Self::OpenApi), ("docs", Self::Docs), ("metrics", Self::Metrics)];

    /// Returns the documents that `auth.open` names.
    pub fn named(names: &[String]) -> anyhow::Result<Vec<Self>> {
        if names == ["none"] {
            return Ok(Vec::new());
        }
        let known = |name: &String| Self::ALL.into_iter().find(|(known, _)| known == name);
        let all = || Self::ALL.map(|(known, _)| known).join(", ");
        let named = names.iter().map(|name| {
            let (_, document) = known(name).with_context(|| {
                format!("auth.open: '{name}' is not one of {}; write one or more of these, or only 'none'", all())
            })?;
            Ok(document)
        });
        named.collect()
    }
}

impl Access {
    /// Returns the permissions. A caller needs one of them.
    pub fn permissions(self) -> &'static [&'static str] {
        const ALL: [&str; 2] =
            ["DeviceManagementConfiguration.Read.All", "DeviceManagementConfiguration.ReadWrite.All"];
        match self {
            Self::Open | Self::Token | Self::PublicDocument(_) => &[],
            Self::Read => &ALL,
            Self::ReadWrite => &ALL[1..],
        }
    }
}

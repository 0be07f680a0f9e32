//! What a route asks of its caller.

use anyhow::Context;

/// What a route asks of its caller.
///
/// The permissions are those that each page of Graph lists, the least first:
/// <https://learn.microsoft.com/graph/permissions-reference>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing. The service ignores a token.
    Open,
    /// A valid token with any permissions.
    Token,
    /// A valid token, unless `auth.open` names the document.
    PublicDocument(PublicDocument),
    /// To read configurations and who gets them.
    Read,
    /// To change them.
    ReadWrite,
}

/// What the service says of itself and not of what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicDocument {
    /// `/$metadata`, in every version.
    Metadata,
    /// `/openapi.json`
    OpenApi,
    /// `/docs` and what the page is made of.
    Docs,
    /// `/metrics`
    Metrics,
}

impl PublicDocument {
    const ALL: [(&str, Self); 4] =
        [("metadata", Self::Metadata), ("openapi", Self::OpenApi), ("docs", Self::Docs), ("metrics", Self::Metrics)];

    /// Those that `auth.open` names.
    pub fn named(names: &[String]) -> anyhow::Result<Vec<Self>> {
        if names == ["none"] {
            return Ok(Vec::new());
        }
        let known = |name: &String| Self::ALL.into_iter().find(|(known, _)| known == name);
        let all = || Self::ALL.map(|(known, _)| known).join(", ");
        let named = names.iter().map(|name| {
            let (_, document) = known(name)
                .with_context(|| format!("auth.open: '{name}' is none of {}; write some of these, or none", all()))?;
            Ok(document)
        });
        named.collect()
    }
}

impl Access {
    /// The permissions of which a caller needs one.
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

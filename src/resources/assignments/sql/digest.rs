//! The digest of a set of assignments, which is its ETag.
//!
//! The database computes it from all rows of the set. For a large set, the database can keep
//! the sums that the digest is made from: `keep_digest` begins that, and triggers change the
//! sums with each write. The migration `0016_expand_digest_parts.sql` explains both.

use sqlx::PgConnection;

use crate::{odata::etag::ETag, resources::parent::ConfigurationId};

/// The digest of a set is kept when the set has more rows. The digest of a smaller set is
/// computed in about 2 ms, and each write of a set with a kept digest takes about 0.1 ms more.
pub const MAX_COMPUTED: usize = 500;

/// The digest of the set of the configuration `%`, as a record: see [`DigestRecord`]. The
/// second query runs only when the first has no row.
pub(super) const DIGEST: &str = "SELECT coalesce(
    (SELECT ROW(k.digest, k.assignments, k.is_compact)
     FROM device_configuration_kept_digests AS k
     WHERE k.device_configuration_id = %),
    (SELECT ROW(p.digest, p.assignments, false)
     FROM device_configuration_computed_digests AS p
     WHERE p.device_configuration_id = %))";

/// The digest, the number of rows, and whether the digest is kept.
pub(super) type DigestRecord = (Option<String>, Option<i64>, Option<bool>);

/// The digest of a set of assignments.
#[derive(Clone, Debug, Default)]
pub struct Digest {
    /// The value. An empty set has none.
    value: Option<String>,
    rows: usize,
    is_kept: bool,
}

impl Digest {
    pub(super) fn from_record((value, rows, is_kept): DigestRecord) -> Self {
        let rows = rows.and_then(|rows| usize::try_from(rows).ok()).unwrap_or_default();
        Self { value, rows, is_kept: is_kept.unwrap_or_default() }
    }

    /// Returns the ETag of the set.
    pub fn etag(&self) -> ETag {
        etag(self.value.as_deref())
    }

    /// Returns whether the set is so large that its digest should be kept, and is not.
    pub fn should_be_kept(&self) -> bool {
        !self.is_kept && self.rows > MAX_COMPUTED
    }
}

/// Returns the ETag of a set with this digest.
pub fn etag(digest: Option<&str>) -> ETag {
    ETag::new(digest.unwrap_or("none"))
}

/// Returns the digest of the set of a configuration, or `None` when the configuration does not
/// exist.
pub async fn find_digest(
    connection: &mut PgConnection,
    configuration: ConfigurationId,
) -> sqlx::Result<Option<Digest>> {
    let row = sqlx::query!(
        r#"SELECT coalesce(k.digest, p.digest) AS digest, coalesce(k.assignments, p.assignments) AS rows,
                  k.is_compact AS "is_kept?"
           FROM device_configurations AS c
           LEFT JOIN LATERAL (
               SELECT digest, assignments, is_compact
               FROM device_configuration_kept_digests
               WHERE device_configuration_id = $1) AS k ON true
           LEFT JOIN LATERAL (
               SELECT digest, assignments
               FROM device_configuration_computed_digests
               WHERE device_configuration_id = $1
                 AND NOT EXISTS (
                     SELECT FROM device_configuration_digest_parts WHERE device_configuration_id = $1 AND is_base)
           ) AS p ON true
           WHERE c.id = $1"#,
        configuration.0,
    );
    let row = row.fetch_optional(connection).await?;
    Ok(row.map(|row| Digest::from_record((row.digest, row.rows, row.is_kept))))
}

/// Begins to keep the digest of the set of a configuration. Does nothing while another
/// transaction has a lock on the configuration.
pub async fn keep_digest(connection: &mut PgConnection, configuration: ConfigurationId) -> sqlx::Result<()> {
    sqlx::query!("SELECT device_configuration_keep_digest($1)", configuration.0).fetch_one(connection).await.map(drop)
}

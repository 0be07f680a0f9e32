//! Opens the database of the settings, and applies its migrations.

use std::{
    collections::BTreeSet,
    fmt,
    path::{PathBuf, absolute},
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, anyhow, bail, ensure};
use nix::unistd::geteuid;
use secrecy::ExposeSecret;
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgExecutor, PgPool,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};
use uuid::Uuid;

use super::{embedded, pool::Pools};
use crate::config;

/// The migrations. Unknown migrations of a later release are no error here;
/// [`Database::check_unknown`] is stricter and explains more.
static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrator = sqlx::migrate!();
    migrator.set_ignore_missing(true);
    migrator
});

/// How long a start waits for the database to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The database of the settings, and the private server when the service runs one.
pub struct Database {
    /// A pool of one connection for work outside of requests, without timeouts for its
    /// statements.
    pub pool: PgPool,
    options: PgConnectOptions,
    private: Option<embedded::Server>,
    /// The folder of the private server.
    folder: Option<PathBuf>,
}

impl Database {
    /// Connects to the database of the settings, or starts the private server.
    ///
    /// # Errors
    /// When no database can be used. The message says what to do.
    pub async fn open(settings: &config::Database) -> anyhow::Result<Self> {
        if let Some(url) = &settings.url {
            return Ok(Self::new(checked(url.expose_secret()).await?, None, None));
        }
        let folder = data_dir(settings);
        let folder = absolute(&folder).unwrap_or(folder);
        let server = embedded::Server::start(&folder).await?;
        Ok(Self::new(server.options(), Some(server), Some(folder)))
    }

    /// Opens the database for a command. A command may run beside a service that has started
    /// the private server, and it never creates a database.
    ///
    /// # Errors
    /// Those of [`Database::open`], and when there is no private database yet.
    pub async fn open_existing(settings: &config::Database) -> anyhow::Result<Self> {
        if let Some(url) = &settings.url {
            return Ok(Self::new(checked(url.expose_secret()).await?, None, None));
        }
        let folder = data_dir(settings);
        let folder = absolute(&folder).unwrap_or(folder);
        ensure!(
            embedded::has_cluster(&folder).with_context(|| {
                format!("cannot look for a database in {}; run this as the user of the service, or name a database in DATABASE_URL", folder.display())
            })?,
            "there is no database in {}; start the service once to create it, or name the right folder in database.data_dir or a database in DATABASE_URL",
            folder.display()
        );
        if let Some(options) = embedded::of_running_service(&folder).await? {
            return Ok(Self::new(options, None, Some(folder)));
        }
        let server = embedded::Server::start(&folder).await?;
        Ok(Self::new(server.options(), Some(server), Some(folder)))
    }

    /// Returns a description of the database for a person: its name and its address.
    pub fn description(&self) -> String {
        let name = self.options.get_database().unwrap_or_else(|| self.options.get_username());
        match &self.folder {
            Some(folder) => format!("the private database in {}", folder.display()),
            None => format!("the database {name} at {}", Address(&self.options)),
        }
    }

    /// Returns the command that opens the private database, or `None` for a database of the
    /// settings.
    pub fn psql_command(&self) -> Option<String> {
        self.folder.as_ref().map(|folder| format!("psql \"$(cat {}/url)\"", folder.display()))
    }

    fn new(options: PgConnectOptions, private: Option<embedded::Server>, folder: Option<PathBuf>) -> Self {
        let options = options.application_name("devicegraph");
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options.clone());
        Self { pool, options, private, folder }
    }

    /// Creates the connection pools of `workers` workers.
    pub fn pools(&self, settings: &config::Database, workers: usize) -> Pools {
        Pools::new(self.options.clone(), settings, workers)
    }

    /// Applies the missing migrations. When several processes start at the same time, one of
    /// them applies the migrations and the others wait.
    ///
    /// # Errors
    /// When a later release has removed something from the database, or a migration fails.
    pub async fn migrate(&self) -> anyhow::Result<()> {
        self.check_unknown().await?;
        migrate(&self.pool).await
    }

    /// Checks the migrations that this release does not know. Accepts those of a later release
    /// that only add.
    ///
    /// # Errors
    /// When a later release has removed something.
    pub async fn check_unknown(&self) -> anyhow::Result<()> {
        let applied = applied(&self.pool).await;
        for (version, description) in applied.map_err(|error| cannot_migrate(&error))? {
            if MIGRATOR.version_exists(version) {
                continue;
            }
            if !description.starts_with("expand") {
                bail!(
                    "the database has migration {version} ({description}), which this release does not know and which may have removed something that this release needs; start the release that added this migration, or a later one"
                );
            }
            tracing::info!(
                version,
                description,
                "the database has a migration of a later release, which only adds: this release can ignore it"
            );
        }
        Ok(())
    }

    /// Checks that a command can use the database without migrating it.
    ///
    /// # Errors
    /// When the database lacks a migration, or [`Database::check_unknown`] refuses it.
    pub async fn check_migrated(&self) -> anyhow::Result<()> {
        self.check_unknown().await?;
        let is_migrated = is_migrated(&self.pool).await.map_err(|error| cannot_migrate(&error))?;
        ensure!(is_migrated, "the database lacks migrations; run `devicegraph migrate` as the owner of its tables");
        Ok(())
    }

    /// Closes every connection and then stops the private server.
    pub async fn close(self) {
        self.pool.close().await;
        if let Some(server) = self.private {
            server.stop().await;
        }
    }
}

/// Logs that a row holds a value that no answer can show. Logs each row once in the life of
/// this process.
pub fn report_unreadable(table: &'static str, id: Uuid) {
    const MAX_REPORTED: usize = 10_000;
    static REPORTED: Mutex<BTreeSet<(&str, Uuid)>> = Mutex::new(BTreeSet::new());
    let mut reported = REPORTED.lock().unwrap_or_else(PoisonError::into_inner);
    if reported.len() < MAX_REPORTED && reported.insert((table, id)) {
        tracing::warn!(
            table,
            %id,
            "the row holds a value that JSON cannot represent: the API shows null, or the nearest time"
        );
        if reported.len() == MAX_REPORTED {
            tracing::warn!("no more such rows are logged; `devicegraph check` lists all of them");
        }
    }
}

/// Applies the migrations.
///
/// # Errors
/// When a migration fails.
pub async fn migrate(pool: &PgPool) -> anyhow::Result<()> {
    MIGRATOR.run(pool).await.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => cannot_migrate(&error),
        other => anyhow!("the database cannot be migrated: {other}; restore the database to the state that a release of devicegraph migrated it to"),
    })
}

/// Validates the constraints that a migration added as NOT VALID. This reads all rows under a
/// lock that does not block reads and writes. Logs the constraints that older rows violate.
///
/// # Errors
/// When the database does not answer.
pub async fn validate_constraints(pool: &PgPool) -> sqlx::Result<()> {
    let pending = sqlx::query!(
        r#"SELECT conrelid::regclass::text AS "table!", conname AS name,
                  format('BEGIN; SET LOCAL lock_timeout = 5000; ALTER TABLE %s VALIDATE CONSTRAINT %I; COMMIT',
                         conrelid::regclass, conname) AS "statement!"
           FROM pg_constraint
           WHERE NOT convalidated AND contype = 'c' AND connamespace = current_schema()::regnamespace
             AND conname LIKE 'device_configuration%'
           ORDER BY conrelid, conname"#
    );
    for constraint in pending.fetch_all(pool).await? {
        if let Err(error) = sqlx::raw_sql(AssertSqlSafe(constraint.statement)).execute(pool).await {
            // The failed transaction is still open.
            sqlx::raw_sql("ROLLBACK").execute(pool).await?;
            let message = match error.as_database_error().and_then(|error| error.code()).as_deref() {
                Some("23514") => "rows that are older than this constraint violate it; `devicegraph check` lists them",
                // Another process validates the constraint at the same time, or a long
                // transaction holds a lock on the table.
                _ => {
                    "this constraint could not be validated now; the next start tries again, unless another process has validated it"
                }
            };
            tracing::warn!(table = constraint.table, constraint = constraint.name, cause = reason(&error), "{message}");
        }
    }
    Ok(())
}

fn cannot_migrate(error: &sqlx::Error) -> anyhow::Error {
    let remedy = match error.as_database_error().and_then(|error| error.code()).as_deref() {
        Some("42501") => {
            "; run `devicegraph migrate` as the owner of the tables, and set database.migrate to false here"
        }
        _ => "",
    };
    anyhow!("the database cannot be migrated: {}{remedy}", reason(error))
}

/// Returns the database's message without the line of PostgreSQL's source code that the driver
/// adds.
fn reason(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

/// Returns the folder of the private server.
pub fn data_dir(settings: &config::Database) -> std::path::PathBuf {
    let default = if geteuid().is_root() { "/var/lib/devicegraph/postgres" } else { ".devicegraph/postgres" };
    settings.data_dir.clone().unwrap_or_else(|| default.into())
}

/// Parses a database URL. Checks the scheme, because the driver accepts every scheme.
fn parse(url: &str) -> anyhow::Result<PgConnectOptions> {
    let is_postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
    match url.parse() {
        Ok(options) if is_postgres => Ok(options),
        _ => bail!(
            "database.url (or DATABASE_URL) is not a PostgreSQL URL; write postgres://user:password@host/database"
        ),
    }
}

/// Connects once without a pool and returns the options of the URL. A pool would retry until
/// its timeout and then report only the timeout.
async fn checked(url: &str) -> anyhow::Result<PgConnectOptions> {
    let options = parse(url)?;
    let attempt = tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&options)).await;
    let at = Address(&options);
    let error = match attempt {
        Ok(Ok(connection)) => {
            connection.close().await.context("the database closed the first connection")?;
            return Ok(options);
        }
        Ok(Err(error)) => error,
        Err(_) => bail!(
            "PostgreSQL at {at} did not answer in {} s; start it, or correct database.url (or DATABASE_URL)",
            CONNECT_TIMEOUT.as_secs()
        ),
    };
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
    let remedy = match code.as_str() {
        "28P01" | "28000" => "correct the user and the password in database.url (or DATABASE_URL)",
        "3D000" => "create the database, or correct its name in database.url (or DATABASE_URL)",
        _ => "start it, or correct database.url (or DATABASE_URL)",
    };
    bail!("cannot use PostgreSQL at {at}: {}; {remedy}", reason(&error))
}

/// Shows the address of a database, without its password.
struct Address<'a>(&'a PgConnectOptions);

impl fmt::Display for Address<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get_socket() {
            Some(socket) => write!(formatter, "{}", socket.display()),
            None => write!(formatter, "{}:{}", self.0.get_host(), self.0.get_port()),
        }
    }
}

/// Returns whether the database holds every migration of this release.
///
/// # Errors
/// When the database does not answer.
pub async fn is_migrated(executor: impl PgExecutor<'_>) -> sqlx::Result<bool> {
    let applied = applied(executor).await?;
    Ok(MIGRATOR.iter().all(|migration| applied.iter().any(|(version, _)| *version == migration.version)))
}

async fn applied(executor: impl PgExecutor<'_>) -> sqlx::Result<Vec<(i64, String)>> {
    let rows = sqlx::query!("SELECT version, description FROM _sqlx_migrations WHERE success ORDER BY version");
    match rows.fetch_all(executor).await {
        Ok(rows) => Ok(rows.into_iter().map(|row| (row.version, row.description)).collect()),
        // undefined_table: the database has no migrations yet.
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

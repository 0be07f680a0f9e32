//! The command line.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use indicatif::{ProgressBar, ProgressStyle};
use sqlx::PgPool;

use crate::{
    auth::mint,
    catalogue::version::Version,
    config::{self, Settings},
    database::{self, Database},
    import_export::{self, FileRules, SeedRequest},
    resources::configurations::vault::Vault,
    server::{app, telemetry},
    tls,
};

/// What `devicegraph --help` prints after the options.
const AFTER_HELP: &str = "\
Without a command, devicegraph runs the service. If the settings name no database, the service
starts a private PostgreSQL server from the programs that are installed on this machine.

Settings are in the settings file or in variables: DEVICEGRAPH__SERVER__PORT=9090 sets server.port.

Examples:
  Run the service on port 9090, with a database of your own:
    DATABASE_URL=postgres://user:password@host/name DEVICEGRAPH__SERVER__PORT=9090 devicegraph
  Store the configurations of a file, with or without a running service:
    devicegraph seed configurations.json";

/// Stores device configurations and their assignments in PostgreSQL and speaks the Microsoft Graph
/// dialect for them
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
pub struct Cli {
    /// Settings file [default: devicegraph.toml in this folder, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service (the default command)
    Serve,
    /// Create the tables of the database, or update them to this release
    Migrate,
    /// Store the configurations of files: all of them or, after an error, none
    ///
    /// The files are those of `devicegraph export`, or JSON as Graph and its tools write it.
    /// Configurations that exist get the content of the files. A second run changes nothing.
    /// Configurations that are in no file stay, except with --prune.
    ///
    /// With --plan the exit code is 0 when nothing would change, 2 when something would
    /// change, and 1 for an error. Without --plan it is 0, or 1 for an error.
    Seed(SeedRequest),
    /// Write each configuration, with its assignments, to a separate file
    ///
    /// The same data gives the same bytes, so that git shows only real changes. The command
    /// removes the files that an earlier export wrote for configurations that no longer exist.
    /// Every other file stays.
    Export {
        /// The folder to write to
        folder: PathBuf,
        /// Replace the export of another store, remove files although the store is empty, and overwrite files that no export wrote
        #[arg(long)]
        force: bool,
    },
    /// List the stored rows that the API would refuse
    ///
    /// SQL or an earlier release may have stored such rows. The command prints a line for each
    /// and changes nothing. The exit code is 1 if there are such rows, otherwise 0.
    Check,
    /// Delete all configurations and all assignments
    Reset {
        /// Confirm the deletion
        #[arg(long)]
        yes: bool,
    },
    /// Print a token for tests, without an identity provider
    ///
    /// The command signs the token with a key pair in the data folder (database.data_dir), and
    /// creates the key pair on first use. The public key is in jwks.json. Standard error shows
    /// the settings with which a service accepts the token.
    Token(mint::Request),
    /// Ask a running service whether it is ready: exit code 0 if it is, otherwise 1
    Health,
    /// Print the script that completes commands in a shell
    Completions {
        /// The shell that runs the script
        shell: Shell,
    },
}

impl Cli {
    /// Parses the arguments of this process. `commit` is the commit that `--version` names.
    ///
    /// # Errors
    /// A message to print: the arguments are wrong, or ask for the help or the version.
    pub fn try_parse_arguments(commit: Option<&str>) -> Result<Self, clap::Error> {
        let release = env!("CARGO_PKG_VERSION");
        let version = commit.map_or_else(|| release.to_owned(), |commit| format!("{release} ({commit})"));
        // clap keeps the text as long as the process runs.
        let matches = Self::command().version(&*version.leak()).try_get_matches()?;
        Self::from_arg_matches(&matches)
    }

    /// Executes the command.
    ///
    /// # Errors
    /// When the command fails. The message is one line that names the remedy.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let command = self.command.unwrap_or(Command::Serve);
        if let Command::Completions { shell } = command {
            let mut completions = Vec::new();
            clap_complete::generate(shell, &mut Self::command(), "devicegraph", &mut completions);
            // The reader may close the pipe early.
            let _ = io::stdout().write_all(&completions);
            return Ok(ExitCode::SUCCESS);
        }
        let settings = Settings::load(self.config.as_deref())?;
        telemetry::start(&settings.log)?;
        if let Command::Seed(request) = &command {
            request.check()?;
        }
        let done = match command {
            Command::Serve => app::run(&settings).await,
            Command::Health => health(&settings.server),
            Command::Token(request) => token(&settings, request),
            Command::Reset { yes: false } => {
                bail!("reset deletes every configuration and every assignment; say --yes if you mean it")
            }
            command => {
                let database = Database::open_existing(&settings.database).await?;
                let done = command.run(&settings, &database).await;
                database.close().await;
                return done;
            }
        };
        done.map(|()| ExitCode::SUCCESS)
    }
}

impl Command {
    /// Executes a command that uses the database and not the service.
    async fn run(self, settings: &Settings, database: &Database) -> anyhow::Result<ExitCode> {
        let writes = matches!(self, Self::Seed(SeedRequest { plan: false, .. }) | Self::Reset { .. });
        if writes {
            let name = if matches!(self, Self::Reset { .. }) { "reset" } else { "seed" };
            // Not in the log, because `log.filter` must not hide it.
            eprintln!("{name} is about to change {}", database.description());
        }
        // A seed that asks a person first changes nothing before the answer.
        let asks = matches!(&self, Self::Seed(request) if request.asks());
        if matches!(self, Self::Migrate) || settings.database.migrate && writes && !asks {
            database.migrate().await?;
        } else {
            database.check_migrated().await?;
        }
        let pool = &database.pool;
        match self {
            Self::Seed(request) => return seed(database, settings, &request).await,
            Self::Export { folder, force } => export(pool, &folder, force).await?,
            Self::Check => check(pool, Version::beta(settings.catalogue.unknown_types)).await?,
            Self::Reset { .. } => {
                let deleted = import_export::reset(pool).await?;
                tracing::info!(deleted, "every configuration and every assignment is deleted");
            }
            Self::Migrate => database::validate_constraints(pool).await?,
            Self::Serve | Self::Token(_) | Self::Health | Self::Completions { .. } => {}
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The exit code of a plan that has changes.
const HAS_CHANGES: u8 = 2;

async fn seed(database: &Database, settings: &Settings, request: &SeedRequest) -> anyhow::Result<ExitCode> {
    let vault = Vault::new(&settings.secrets)?;
    let seeds =
        import_export::read(&request.path, FileRules { must_be_complete: request.prune, ..FileRules::of(settings) })?;
    let pool = &database.pool;
    if request.plan {
        let plan = import_export::plan(pool, &vault, seeds, request.prune).await?;
        request.print(&plan)?;
        return Ok(if plan.has_changes() { HAS_CHANGES.into() } else { ExitCode::SUCCESS });
    }
    let prune = request.confirm(pool, &seeds, &database.description()).await?;
    let bar = progress(seeds.len());
    let done = import_export::seed_and_prune(pool, &vault, seeds, &prune, || bar.inc(1)).await?;
    bar.finish_and_clear();
    tracing::info!(
        created = done.created,
        changed = done.changed,
        deleted = done.deleted,
        unchanged = done.unchanged,
        "seeded from {}",
        request.path.display()
    );
    Ok(ExitCode::SUCCESS)
}

async fn export(pool: &PgPool, folder: &Path, force: bool) -> anyhow::Result<()> {
    let bar = progress(import_export::count(pool).await?);
    let written = import_export::export(pool, folder, force, || bar.inc(1)).await?;
    bar.finish_and_clear();
    tracing::info!(configurations = written, "exported to {}", folder.display());
    Ok(())
}

/// Prints a line to standard output for each row that the API would refuse.
async fn check(pool: &PgPool, beta: Version) -> anyhow::Result<()> {
    let (mut found, mut output) = (0, io::stdout().lock());
    let checked = import_export::check(pool, beta, |finding| {
        found += 1;
        writeln!(output, "{finding}")
    });
    let rows = checked.await?;
    ensure!(found == 0, "the API would refuse {found} of {rows} rows");
    tracing::info!(rows, "the API would accept every row");
    Ok(())
}

/// Creates a progress bar on standard error, if that is a terminal.
fn progress(length: usize) -> ProgressBar {
    let bar = ProgressBar::new(length as u64);
    match ProgressStyle::with_template("{bar:40} {pos}/{len} configurations, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Asks the service whether it is ready, for the health check of a container, which has no
/// other HTTP client.
fn health(server: &config::Server) -> anyhow::Result<()> {
    let host = match server.host.as_str() {
        "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        host => host,
    };
    let server = config::Server { host: host.to_owned(), ..server.clone() };
    let url = format!("{}://{server}/health/ready", server.scheme());
    let client = tls::client_of_itself(Duration::from_secs(2));
    client.get(&url).call().map(drop).with_context(|| format!("{url} is not ready"))
}

/// Prints the token, and only the token, to standard output.
fn token(settings: &Settings, request: mint::Request) -> anyhow::Result<()> {
    let minted = request.mint(&database::data_dir(&settings.database), &settings.auth)?;
    let jwks = minted.jwks.display();
    tracing::info!(
        "a service accepts it with auth.mode = \"jwt\", auth.issuer = \"{}\", auth.audience = \"{}\", auth.jwks_file = \"{jwks}\"",
        minted.issuer,
        minted.audience
    );
    writeln!(io::stdout(), "{}", minted.token).context("cannot print the token")
}

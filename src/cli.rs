//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{app, config::Settings, database, database::Database, telemetry};

/// Keeps device configurations and their assignments in PostgreSQL and speaks
/// the Microsoft Graph dialect for them.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// Settings file; without it devicegraph.toml in the working folder, if there is one
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Command {
    /// Run the service (what no command means)
    Serve,
    /// Apply the pending migrations and end
    Migrate,
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// Whatever keeps it from being done, in one line that names the remedy.
    pub async fn run(self) -> anyhow::Result<()> {
        let settings = Settings::load(self.config.as_deref())?;
        telemetry::start(&settings.log)?;
        match self.command.unwrap_or(Command::Serve) {
            Command::Serve => app::run(&settings).await,
            Command::Migrate => {
                let database = Database::open(&settings.database).await?;
                let migrated = database::migrate(&database.pool).await;
                database.close().await;
                migrated
            }
        }
    }
}

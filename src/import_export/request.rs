//! The options of `devicegraph seed`, and the question before it deletes.

use std::{
    collections::BTreeSet,
    io::{self, IsTerminal, Write},
    path::PathBuf,
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use sqlx::PgPool;
use uuid::Uuid;

use super::{files::ParsedConfiguration, plan::Plan, seed::Prune};
use crate::resources::configurations;

/// The options of `devicegraph seed`.
#[derive(Args, Debug)]
pub struct SeedRequest {
    /// A JSON file, or a folder of them
    pub path: PathBuf,
    /// Print what the seed would change, and change nothing. Exit code 2 means that it would change something
    #[arg(long)]
    pub plan: bool,
    /// Also delete the configurations that are not in the folder
    #[arg(long)]
    pub prune: bool,
    /// Delete without a question
    #[arg(long, requires = "prune", conflicts_with = "plan")]
    yes: bool,
    /// Print the plan as JSON
    #[arg(long, requires = "plan")]
    json: bool,
}

impl SeedRequest {
    /// Checks the options, before the command opens the database.
    ///
    /// # Errors
    /// When `--prune` would delete what the path does not have although the path is no folder,
    /// and when it can ask no person.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            !self.prune || !self.path.is_file(),
            "--prune deletes what is not in a folder, and {} is a file; name the folder, or leave --prune out",
            self.path.display()
        );
        ensure!(
            !self.prune || self.plan || self.yes || io::stdin().is_terminal(),
            "--prune deletes configurations, and there is no terminal to ask for a confirmation; look at the plan with --plan, then confirm with --yes"
        );
        Ok(())
    }

    /// Returns whether the command asks before it changes anything.
    pub fn asks(&self) -> bool {
        self.prune && !self.yes && !self.plan
    }

    /// Returns which configurations the seed deletes. Asks on the terminal before any is deleted
    /// from `database`.
    ///
    /// # Errors
    /// When the answer is no.
    pub async fn confirm(&self, pool: &PgPool, seeds: &[ParsedConfiguration], database: &str) -> anyhow::Result<Prune> {
        if !self.prune {
            return Ok(Prune::Nothing);
        }
        if self.yes {
            return Ok(Prune::All);
        }
        // No transaction is open while the person thinks.
        let ids = configurations::sql::ids(&mut *pool.acquire().await?).await?;
        let mut surplus: BTreeSet<Uuid> = ids.into_iter().collect();
        for parsed in seeds {
            surplus.remove(&parsed.id);
        }
        if !surplus.is_empty() && !seeds.is_empty() {
            ask(surplus.len(), database)?;
        }
        Ok(Prune::Confirmed(surplus))
    }

    /// Prints the plan to standard output.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn print(&self, plan: &Plan) -> anyhow::Result<()> {
        // Colours only on a terminal, and where NO_COLOR is not set.
        let mut output = anstream::stdout().lock();
        let printed = if self.json { plan.write_json(&mut output) } else { plan.write_text(&mut output) };
        printed.and_then(|()| output.flush()).context("cannot print the plan")
    }
}

/// Asks on the terminal whether to delete.
fn ask(count: usize, database: &str) -> anyhow::Result<()> {
    let configurations = if count == 1 { "configuration that is" } else { "configurations that are" };
    eprint!("Delete {count} {configurations} not in the folder from {database}? [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => bail!(
            "nothing is changed, because the answer is not yes; `devicegraph seed --plan --prune` shows what would be deleted"
        ),
    }
}

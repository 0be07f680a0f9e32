//! The binary: an error is one line on standard error and exit code 1.

use std::process::ExitCode;

use clap::Parser;
use devicegraph::cli::Cli;
use mimalloc::MiMalloc;

/// An answer consists of many small strings. The system allocator takes a fifth of the time of
/// a page.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[actix_web::main]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("devicegraph: {}", format!("{error:#}").replace('\n', "; "));
            ExitCode::FAILURE
        }
    }
}

//! The binary: an error is one line on standard error and exit code 1. A wrong command line has
//! this exit code, too, because 2 means that a plan has changes.

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
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(message) => {
            // The reader may close the pipe early.
            let _ = message.print();
            return if message.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match cli.run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("devicegraph: {}", format!("{error:#}").replace('\n', "; "));
            ExitCode::FAILURE
        }
    }
}

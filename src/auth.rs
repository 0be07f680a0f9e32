//! Who may call.
//!
//! So far only `auth.mode = "disabled"` exists: every caller may do
//! everything. It is what nothing set means on a loopback address; anywhere
//! else somebody has to ask for it in so many words.

use anyhow::bail;

use crate::config::{AuthMode, Settings};

/// Decides at start whether the service may listen where it is told to.
///
/// # Errors
/// When no mode is set and others than this machine could call, and for
/// `jwt`, which this release does not have.
pub fn check(settings: &Settings) -> anyhow::Result<()> {
    let server = &settings.server;
    match settings.auth.mode {
        Some(AuthMode::Disabled) => Ok(()),
        Some(AuthMode::Jwt) => {
            bail!("auth.mode: this release cannot check tokens yet; set it to disabled, on a loopback address")
        }
        None if server.is_loopback()? => Ok(()),
        None => bail!(
            "server.host: {server} can be reached from other machines and auth.mode is not set; listen on 127.0.0.1, or set auth.mode to disabled if everyone who can reach it may change everything"
        ),
    }
}

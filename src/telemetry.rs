//! Logs.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, filter::ParseError, fmt};

use crate::config::{LogFormat, Telemetry};

/// The filter that a configuration asks for.
///
/// # Errors
/// When it is not one.
pub fn filter(config: &Telemetry) -> Result<EnvFilter, ParseError> {
    EnvFilter::try_new(&config.filter)
}

/// Starts writing log records to standard error. A second start changes nothing.
pub fn start(config: &Telemetry) {
    // Reading the configuration has refused what is not a filter.
    let filter = filter(config).unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false);
    // Only the first subscriber of a process can be installed.
    let _ = match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

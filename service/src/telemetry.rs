//! Tracing to standard error, as text or JSON. Standard output belongs to what users and scripts read.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("expected text or json".to_owned()),
        }
    }
}

/// Starts tracing for this process. `filter` is in tracing's own syntax, such as `info` or `warn,gateway=debug`.
/// A second call in one process changes nothing, so that tests may start several servers.
pub fn start(format: LogFormat, filter: &str) {
    let filter = quiet(filter, EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info")));
    let registry = tracing_subscriber::registry().with(filter);
    let started = match format {
        LogFormat::Text => {
            // Colours are for people: a file or a collector would keep them as noise.
            let ansi = std::io::stderr().is_terminal();
            registry.with(tracing_subscriber::fmt::layer().with_ansi(ansi).with_writer(std::io::stderr)).try_init()
        }
        LogFormat::Json => {
            registry.with(tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr)).try_init()
        }
    };
    drop(started);
}

/// The Kubernetes client logs every request that fails, beside whoever made it, and quotes answers that it cannot read,
/// which may hold a token. Whoever wants that asks for it by name.
fn quiet(given: &str, filter: EnvFilter) -> EnvFilter {
    match "kube_client::client=off".parse() {
        Ok(directive) if !given.contains("kube_client") => filter.add_directive(directive),
        _ => filter,
    }
}

//! The runner's settings: each a flag and a `CLISCALE_*` variable, all of them checked before anything starts and
//! all that is wrong reported at once. The boot token is no flag: a process listing would show it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use session::RunnerId;
use url::Url;

use crate::server::Buffers;

/// The command line as it was given; [`Args::settings`] judges it.
#[derive(Debug, Parser)]
#[command(
    name = "cliscale-runner",
    version,
    args_override_self = true,
    about = "Runs one session: fetches code, runs a command, shows its terminal"
)]
pub struct Args {
    /// The controller's internal address, `http://HOST[:PORT]`
    #[arg(long, env = "CLISCALE_CONTROLLER_URL", value_name = "URL")]
    controller_url: Option<String>,
    /// The id under which the controller knows this runner
    #[arg(long, env = "CLISCALE_RUNNER_ID", value_name = "UUID")]
    runner_id: Option<String>,
    /// Where to listen; port 0 takes a free one
    #[arg(long, env = "CLISCALE_LISTEN", value_name = "IP:PORT", default_value = "0.0.0.0:7681")]
    listen: String,
    /// The address told to the controller [default: the listening one, else that of the connection to it]
    #[arg(long, env = "CLISCALE_ADDRESS", value_name = "IP")]
    address: Option<String>,
    /// The folder that code is fetched into
    #[arg(long, env = "CLISCALE_WORKSPACE", value_name = "DIR", default_value = "/workspace")]
    workspace: PathBuf,
    /// The command's HOME [default: this process's own]
    #[arg(long, env = "CLISCALE_HOME", value_name = "DIR")]
    home: Option<PathBuf>,
    /// A folder with install caches that are read and never written: npm's in `npm`, wheels in `pip`
    #[arg(long, env = "CLISCALE_INSTALL_CACHES", value_name = "DIR")]
    install_caches: Option<PathBuf>,
    /// Seconds that the result stays readable after the command's end
    #[arg(long, env = "CLISCALE_LINGER_SECS", value_name = "SECONDS", default_value = "60")]
    linger_secs: String,
    /// Bytes of output kept for replay
    #[arg(long, env = "CLISCALE_RING_BYTES", value_name = "BYTES", default_value = "4194304")]
    ring_bytes: String,
    /// Bytes of older output kept in a file without a name; 0 keeps none
    #[arg(long, env = "CLISCALE_SPILL_BYTES", value_name = "BYTES", default_value = "67108864")]
    spill_bytes: String,
    /// The folder of that file [default: the one for temporary files]
    #[arg(long, env = "CLISCALE_SPILL_DIR", value_name = "DIR")]
    spill_dir: Option<PathBuf>,
    /// Seconds between heartbeats, jittered
    #[arg(long, env = "CLISCALE_HEARTBEAT_SECS", value_name = "SECONDS", default_value = "60")]
    heartbeat_secs: String,
    /// Seconds after which a runner that was never assigned exits
    #[arg(long, env = "CLISCALE_MAX_IDLE_SECS", value_name = "SECONDS", default_value = "3600")]
    max_idle_secs: String,
    /// Read the boot token from stdin's first line, and end everything once stdin is closed
    #[arg(long, env = "CLISCALE_LIFELINE")]
    lifeline: bool,
    /// Give commands the variables of this process, which has a container to itself, and see to their home
    #[arg(long, env = "CLISCALE_CONTAINER")]
    container: bool,
    /// Only copy this program into a folder, from which another image can run it
    #[arg(long, value_name = "DIR")]
    pub install_to: Option<PathBuf>,
    /// How log lines look
    #[arg(long, env = "CLISCALE_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// The settings, all of them sound.
#[derive(Debug, Clone)]
pub struct Settings {
    pub controller_url: Url,
    pub runner_id: RunnerId,
    pub listen: SocketAddr,
    pub address: Option<IpAddr>,
    pub workspace: PathBuf,
    pub home: PathBuf,
    /// See [`crate::caches`].
    pub install_caches: Option<PathBuf>,
    pub linger: Duration,
    pub buffers: Buffers,
    pub heartbeat: Duration,
    pub max_idle: Duration,
    pub lifeline: bool,
    /// The container around this process is this runner's alone, and its home a new one.
    pub container: bool,
}

/// Everything that is wrong with the settings, one line each.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct BadSettings(Vec<String>);

/// A ring smaller than this holds no screen; a larger one than this no pod.
const RING_BYTES: std::ops::RangeInclusive<u64> = 4096..=1 << 30;
/// As much as a disk that others use, too, can spare for one session. A spill smaller than a terminal's own buffer is
/// of no use.
const SPILL_BYTES: std::ops::RangeInclusive<u64> = 65_536..=1 << 34;
/// A week: nothing here waits longer.
const MAX_SECS: u64 = 7 * 86_400;

impl Args {
    pub fn settings(self) -> Result<Settings, BadSettings> {
        let mut found = Vec::new();
        let controller_url = found.required("--controller-url", self.controller_url, parse_controller);
        let runner_id = found.required("--runner-id", self.runner_id, parse::<RunnerId>);
        let listen = found.checked("--listen", &self.listen, parse::<SocketAddr>);
        let address = self.address.and_then(|text| found.checked("--address", &text, parse::<IpAddr>));
        let mut seconds = |flag, text: &str, least| found.checked(flag, text, |text| number(text, least..=MAX_SECS));
        let linger = seconds("--linger-secs", &self.linger_secs, 0);
        let heartbeat = seconds("--heartbeat-secs", &self.heartbeat_secs, 1);
        let max_idle = seconds("--max-idle-secs", &self.max_idle_secs, 1);
        let ring_bytes = found.checked("--ring-bytes", &self.ring_bytes, |text| number(text, RING_BYTES));
        let spill_bytes = match self.spill_bytes.as_str() {
            "0" => Some(0),
            text => found.checked("--spill-bytes", text, |text| number(text, SPILL_BYTES)),
        };
        if !self.workspace.is_absolute() {
            found.push(format!("--workspace {:?}: must be an absolute path", self.workspace));
        }
        if let Some(caches) = self.install_caches.as_ref().filter(|caches| !caches.is_absolute()) {
            found.push(format!("--install-caches {caches:?}: must be an absolute path"));
        }
        let home = self.home.or_else(|| std::env::var_os("HOME").map(PathBuf::from));
        let (Some(controller_url), Some(runner_id), Some(listen), Some(linger)) =
            (controller_url, runner_id, listen, linger)
        else {
            return Err(BadSettings(found));
        };
        let (Some(heartbeat), Some(max_idle), Some(ring_bytes), Some(spill_bytes), true) =
            (heartbeat, max_idle, ring_bytes, spill_bytes, found.is_empty())
        else {
            return Err(BadSettings(found));
        };
        Ok(Settings {
            controller_url,
            runner_id,
            listen,
            address,
            home: home.filter(|home| home.is_absolute()).unwrap_or_else(|| self.workspace.clone()),
            workspace: self.workspace,
            install_caches: self.install_caches,
            linger: Duration::from_secs(linger),
            buffers: Buffers {
                ring_bytes: ring_bytes as usize,
                spill_folder: self.spill_dir.unwrap_or_else(std::env::temp_dir),
                spill_bytes,
            },
            heartbeat: Duration::from_secs(heartbeat),
            max_idle: Duration::from_secs(max_idle),
            lifeline: self.lifeline,
            container: self.container,
        })
    }
}

/// Collects what is wrong instead of stopping at the first.
trait Findings {
    fn checked<T>(&mut self, flag: &str, text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T>;
    fn required<T>(&mut self, flag: &str, text: Option<String>, parse: impl Fn(&str) -> Result<T, String>)
    -> Option<T>;
}

impl Findings for Vec<String> {
    fn checked<T>(&mut self, flag: &str, text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        parse(text).map_err(|why| self.push(format!("{flag} {text:?}: {why}"))).ok()
    }

    fn required<T>(
        &mut self,
        flag: &str,
        text: Option<String>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            let variable = flag.trim_start_matches('-').replace('-', "_").to_uppercase();
            self.push(format!("{flag} (or CLISCALE_{variable}) is missing"));
            return None;
        };
        self.checked(flag, &text, parse)
    }
}

fn parse<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn number(text: &str, range: std::ops::RangeInclusive<u64>) -> Result<u64, String> {
    let wrong = || format!("must be a number from {} to {}", range.start(), range.end());
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(wrong)
}

/// The internal port speaks plain HTTP: it is reached inside the cluster or over loopback only.
fn parse_controller(text: &str) -> Result<Url, String> {
    let url: Url = parse(text)?;
    if url.scheme() != "http" || url.host_str().is_none_or(str::is_empty) || !url.username().is_empty() {
        return Err("must be http://HOST[:PORT]".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(args: &[&str]) -> Result<Settings, BadSettings> {
        Args::try_parse_from([&["cliscale-runner"], args].concat()).unwrap().settings()
    }

    #[test]
    fn everything_that_is_wrong_is_reported_at_once() {
        let wrong = settings(&[
            "--controller-url=https://c",
            "--listen=here",
            "--address=there",
            "--workspace=w",
            "--install-caches=c",
            "--linger-secs=-1",
            "--ring-bytes=1",
            "--spill-bytes=1",
            "--heartbeat-secs=0",
            "--max-idle-secs=x",
        ]);
        let BadSettings(found) = wrong.unwrap_err();
        let flags: Vec<_> = found.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(
            flags,
            [
                "--controller-url",
                "--runner-id",
                "--listen",
                "--address",
                "--linger-secs",
                "--heartbeat-secs",
                "--max-idle-secs",
                "--ring-bytes",
                "--spill-bytes",
                "--workspace",
                "--install-caches"
            ]
        );
    }

    #[test]
    fn two_settings_are_enough() {
        let id = RunnerId::new().to_string();
        let settings = settings(&["--controller-url=http://127.0.0.1:1", &format!("--runner-id={id}")]).unwrap();
        assert_eq!((settings.runner_id.to_string(), settings.buffers.ring_bytes), (id, 4 << 20));
        assert_eq!(settings.listen.to_string(), "0.0.0.0:7681");
    }
}

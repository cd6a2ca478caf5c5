//! The settings of templates and of their pools of standbys: two flags for the default one, or a file for all of them.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use service::Settings;
use session::DEFAULT_TEMPLATE;

use crate::launcher::kubernetes::{Amount, Folders, PodSettings, PodTemplate, RunnerTemplate, TemplateError};
use crate::lifecycle::{PoolConfig, WhenEmpty};

/// The most standbys that one pool may keep.
const MAX_STANDBYS: u64 = 10_000;
/// Before a runner gives up waiting, its pool must have replaced it.
const BEFORE_GIVING_UP: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Args)]
pub(super) struct PoolFlags {
    /// Standbys that are kept for sessions of the default template, which start at once then.
    #[arg(long, env = "CLISCALE_POOL_MIN", value_name = "N", default_value = "0")]
    pool_min: String,
    /// Runners of that pool that may live at once, those that sessions have included
    /// [default: 100, or ten times --pool-min if that is more].
    #[arg(long, env = "CLISCALE_POOL_MAX", value_name = "N")]
    pool_max: Option<String>,
    /// A file with templates and their pools, as YAML or JSON, instead of the two settings above.
    #[arg(long, env = "CLISCALE_POOLS", value_name = "FILE")]
    pools: Option<String>,
}

/// One entry of the file. What it leaves out is as for the default template.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    min: u32,
    max: Option<u32>,
    per_minute: Option<u32>,
    max_idle_seconds: Option<u64>,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    when_empty: WhenEmpty,
    image: Option<String>,
    installer_image: Option<String>,
    folders: Option<Folders>,
    cpu: Option<String>,
    memory: Option<String>,
    ephemeral_storage: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    spread: Option<bool>,
    pod_template: Option<serde_json::Value>,
}

/// Pools, and on Kubernetes what their runners are made of.
pub(super) struct Pools {
    pub configs: Vec<PoolConfig>,
    pub templates: BTreeMap<String, RunnerTemplate>,
}

/// What is wrong with an entry.
#[derive(Debug, thiserror::Error)]
enum EntryError {
    #[error("{0}")]
    Field(String),
    #[error("podTemplate: {0}")]
    Template(#[from] TemplateError),
}

impl PoolFlags {
    /// `base`: what the launcher's own settings make of the default template; `None` where runners are no pods.
    pub fn read(&self, settings: &mut Settings, base: Option<RunnerTemplate>, waits: Duration) -> Option<Pools> {
        match self.pools.as_deref().filter(|path| !path.trim().is_empty()) {
            Some(path) => self.of_file(settings, path.trim(), base, waits),
            None => self.default_pool(settings, base, waits),
        }
    }

    fn default_pool(&self, settings: &mut Settings, base: Option<RunnerTemplate>, waits: Duration) -> Option<Pools> {
        let min = settings.read_range("--pool-min", &self.pool_min, 0, MAX_STANDBYS)?;
        let mut pool = PoolConfig::keeping(DEFAULT_TEMPLATE, u32::try_from(min).ok()?, waits);
        if let Some(max) = self.pool_max.as_deref().filter(|text| !text.trim().is_empty()) {
            pool.max = u32::try_from(settings.read_range("--pool-max", max, min.max(1), MAX_STANDBYS)?).ok()?;
        }
        let templates = base.into_iter().map(|base| (DEFAULT_TEMPLATE.to_owned(), base)).collect();
        Some(Pools { configs: vec![pool], templates })
    }

    fn of_file(
        &self,
        settings: &mut Settings,
        path: &str,
        base: Option<RunnerTemplate>,
        waits: Duration,
    ) -> Option<Pools> {
        let mut refuse = |why: String| {
            settings.refuse("--pools", format!("{path}: {why}"));
            None
        };
        if self.pool_max.is_some() || self.pool_min.trim() != "0" {
            return refuse("says all that --pool-min and --pool-max would; leave these out".to_owned());
        }
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return refuse(error.to_string()),
        };
        match entries(&text).and_then(|entries| pools(entries, base.as_ref(), waits)) {
            Ok(pools) => Some(pools),
            Err(why) => refuse(why),
        }
    }
}

/// As YAML; the field that is wrong is named.
fn entries(text: &str) -> Result<Vec<Entry>, String> {
    let written: serde_json::Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    serde_path_to_error::deserialize(written).map_err(|error| format!("{}: {}", error.path(), error.inner()))
}

fn pools(entries: Vec<Entry>, base: Option<&RunnerTemplate>, waits: Duration) -> Result<Pools, String> {
    let mut pools = Pools { configs: Vec::new(), templates: BTreeMap::new() };
    let mut names = HashSet::new();
    for entry in entries {
        let name = entry.name.clone();
        if !names.insert(name.clone()) {
            return Err(format!("{name}: is there twice"));
        }
        let config = entry.pool(waits).map_err(|error| format!("{name}: {error}"))?;
        match base {
            Some(base) => {
                let template = entry.template(base).map_err(|error| format!("{name}: {error}"))?;
                pools.templates.insert(name, template);
            }
            None if entry.says_what_pods_are() => {
                return Err(format!("{name}: runners are pods only with --launcher kubernetes"));
            }
            None => {}
        }
        pools.configs.push(config);
    }
    if !names.contains(DEFAULT_TEMPLATE) {
        return Err(format!("there is no {DEFAULT_TEMPLATE:?}, which sessions without a template need"));
    }
    Ok(pools)
}

impl Entry {
    fn pool(&self, waits: Duration) -> Result<PoolConfig, EntryError> {
        let field = |text: String| Err(EntryError::Field(text));
        let characters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let inner = self.name.trim_matches('-');
        if inner.is_empty() || inner != self.name || self.name.len() > 63 || !self.name.chars().all(characters) {
            return field("name: 1 to 63 of a-z, 0-9 and -, neither first nor last".to_owned());
        }
        let defaults = PoolConfig::keeping(&self.name, self.min, waits);
        let max = self.max.unwrap_or(defaults.max);
        if u64::from(max) > MAX_STANDBYS || max < self.min.max(1) {
            return field(format!("max: from min, at least 1, to {MAX_STANDBYS}"));
        }
        let per_minute = self.per_minute.unwrap_or(defaults.per_minute);
        if !(1..=60_000).contains(&per_minute) {
            return field("perMinute: 1 to 60000".to_owned());
        }
        let longest = waits.saturating_sub(BEFORE_GIVING_UP);
        let max_idle = self.max_idle_seconds.map_or(defaults.max_idle, Duration::from_secs);
        if max_idle.is_zero() || max_idle > longest {
            let longest = longest.as_secs();
            return field(format!(
                "maxIdleSeconds: 1 to {longest}, a minute less than runners wait (--runner-idle-secs)"
            ));
        }
        let (priority, when_empty) = (self.priority, self.when_empty);
        Ok(PoolConfig { max, per_minute, max_idle, priority, when_empty, ..defaults })
    }

    fn says_what_pods_are(&self) -> bool {
        let texts = [&self.image, &self.installer_image, &self.cpu, &self.memory, &self.ephemeral_storage];
        texts.iter().any(|text| text.is_some())
            || self.folders.is_some()
            || !self.labels.is_empty()
            || self.pod_template.is_some()
            || self.spread.is_some()
    }

    fn template(&self, base: &RunnerTemplate) -> Result<RunnerTemplate, EntryError> {
        let mut template = base.clone();
        if let Some(image) = &self.image {
            template.pod.image.clone_from(image);
        }
        if self.installer_image.is_some() {
            // An empty one: this template's image has the runner itself.
            template.pod.installer_image = self.installer_image.clone().filter(|image| !image.is_empty());
        }
        template.pod.folders = self.folders.unwrap_or(base.pod.folders);
        if template.pod.lacks_folders() {
            return Err(EntryError::Field(format!("folders: {}", PodSettings::LACKS_FOLDERS)));
        }
        let amounts = &mut template.pod.resources;
        for (name, given, amount) in [
            ("cpu", &self.cpu, &mut amounts.cpu),
            ("memory", &self.memory, &mut amounts.memory),
            ("ephemeralStorage", &self.ephemeral_storage, &mut amounts.ephemeral_storage),
        ] {
            if let Some(text) = given {
                let read: Result<Amount, _> = text.parse();
                *amount = Some(read.map_err(|error| EntryError::Field(format!("{name}: {error}")))?);
            }
        }
        template.labels.extend(self.labels.clone());
        template.spread = self.spread.unwrap_or(base.spread);
        if let Some(written) = &self.pod_template {
            template.template = base.template.with(&PodTemplate::parse(&written.to_string())?)?;
        }
        Ok(template)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITS: Duration = Duration::from_secs(3600);

    fn base() -> RunnerTemplate {
        let mut base = RunnerTemplate { spread: true, ..RunnerTemplate::default() };
        base.pod.image = "runner:1".to_owned();
        base
    }

    fn read(text: &str) -> Result<Pools, String> {
        pools(entries(text)?, Some(&base()), WAITS)
    }

    fn error(text: &str) -> String {
        read(text).err().expect("an error")
    }

    #[test]
    fn what_an_entry_leaves_out_is_as_for_the_default() {
        let text = "
- name: default
- name: gpu
  min: 3
  priority: 5
  whenEmpty: refuse
  image: gpu:2
  folders: image
  memory: 8Gi
  labels: {team: vision}
  podTemplate: {spec: {nodeSelector: {gpu: 'true'}}}";
        let Pools { configs, templates } = read(text).unwrap();
        assert_eq!(configs[0], PoolConfig::keeping("default", 0, WAITS));
        let gpu = PoolConfig { priority: 5, when_empty: WhenEmpty::Refuse, ..PoolConfig::keeping("gpu", 3, WAITS) };
        assert_eq!(configs[1], gpu);
        assert_eq!(templates["default"], base());
        let gpu = &templates["gpu"];
        assert_eq!((gpu.pod.folders, base().pod.folders), (Folders::Image, Folders::Volumes));
        assert_eq!((gpu.pod.image.as_str(), gpu.labels["team"].as_str(), gpu.spread), ("gpu:2", "vision", true));
        assert!(gpu.pod.resources.memory.is_some() && gpu.pod.resources.cpu.is_none());
        assert_ne!(gpu.template, PodTemplate::default());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_pool() {
        for (text, said) in [
            ("[{name: default, mim: 1}]", "[0]"),
            ("[{name: default, min: -1}]", "[0].min"),
            ("[{name: a}]", "there is no \"default\""),
            ("[{name: default}, {name: default}]", "default: is there twice"),
            ("[{name: Default}]", "name: 1 to 63"),
            ("[{name: default, min: 5, max: 4}]", "default: max: from min"),
            ("[{name: default, perMinute: 0}]", "default: perMinute"),
            ("[{name: default, maxIdleSeconds: 3600}]", "default: maxIdleSeconds: 1 to 3540"),
            ("[{name: default, memory: lots}]", "default: memory"),
            ("[{name: default, folders: home}]", "[0].folders: unknown variant `home`, expected `volumes` or `image`"),
            ("[{name: default, folders: image, installerImage: x}]", "default: folders: image: only an image that has"),
            ("[{name: default, podTemplate: {spec: {nodeSelectr: {}}}}]", "default: podTemplate: spec.nodeSelectr"),
        ] {
            let error = error(text);
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn processes_have_pools_and_are_made_of_nothing() {
        let of_processes = |text: &str| pools(entries(text).unwrap(), None, WAITS);
        assert_eq!(of_processes("[{name: default, min: 2}]").unwrap().configs[0].min, 2);
        assert!(of_processes("[{name: default, image: x}]").err().unwrap().contains("--launcher kubernetes"));
    }
}

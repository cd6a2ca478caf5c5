//! What a rendering consists of, as values, and the ways that tests ask for parts of it.

use anyhow::{Context, Result, ensure};
use k8s_openapi::serde::de::DeserializeOwned;
use serde_json::Value;

/// The objects of one rendering.
pub struct Objects {
    pub text: String,
    pub all: Vec<Value>,
}

/// The one document of a YAML text.
pub fn parse(text: &str) -> Result<Value> {
    serde_saphyr::from_str(text).map_err(|error| anyhow::anyhow!("{error}"))
}

pub fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or_default()
}

pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The elements of a list; none where there is no list.
pub fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// The pod that an object makes, if it makes any: what has `metadata` and `spec`.
pub fn pod(object: &Value) -> Option<&Value> {
    match kind(object) {
        "Pod" => Some(object),
        "Deployment" | "StatefulSet" | "DaemonSet" | "Job" => Some(&object["spec"]["template"]),
        _ => None,
    }
}

/// All containers of a pod, those that initialise it included.
pub fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    each(&pod["spec"]["initContainers"]).chain(each(&pod["spec"]["containers"]))
}

impl Objects {
    pub fn parse(text: String) -> Result<Self> {
        let all: Vec<Value> = serde_saphyr::from_multiple(&text).map_err(|error| anyhow::anyhow!("{error}\n{text}"))?;
        let all: Vec<Value> = all.into_iter().filter(|object| !object.is_null()).collect();
        ensure!(
            all.iter().all(|object| !kind(object).is_empty() && !name(object).is_empty()),
            "an object without a name"
        );
        Ok(Self { text, all })
    }

    pub fn of_kind<'a>(&'a self, wanted: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
        let wanted = wanted.to_owned();
        self.all.iter().filter(move |object| kind(object) == wanted)
    }

    /// The object of that kind and name.
    pub fn get(&self, wanted: &str, named: &str) -> Result<&Value> {
        self.of_kind(wanted).find(|object| name(object) == named).with_context(|| format!("no {wanted} {named}"))
    }

    /// Every object of a kind, typed.
    pub fn typed<T: DeserializeOwned>(&self, kind: &str) -> Result<Vec<T>> {
        self.of_kind(kind)
            .map(|object| serde_json::from_value(object.clone()).with_context(|| format!("{kind} {}", name(object))))
            .collect()
    }
}

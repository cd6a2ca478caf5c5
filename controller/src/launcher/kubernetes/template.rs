//! What operators add to every runner's pod: a file with a PodTemplateSpec, as YAML or JSON. It is read strictly, since
//! a field that is misspelt, or that the launcher would overrule, must not be dropped in silence.

use std::fmt;
use std::path::{Path, PathBuf};

use k8s_openapi::DeepMerge;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

/// Fields by which the elements of lists are told apart; a mount has a name, too, which is not its own.
const LIST_KEYS: [&str; 6] = ["mountPath", "devicePath", "containerPort", "topologyKey", "ip", "name"];

/// A pod template as it was given.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodTemplate {
    /// As written, to find what the typed form lost.
    written: Value,
    pub(super) spec: PodTemplateSpec,
}

/// The template cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    #[error("{0}: {1}")]
    Unreadable(PathBuf, #[source] std::io::Error),
    #[error("neither YAML nor JSON: {0}")]
    Syntax(String),
    #[error("{field}: {why}")]
    Field { field: String, why: String },
}

impl TemplateError {
    pub(super) fn field(field: impl fmt::Display, why: impl Into<String>) -> Self {
        Self::Field { field: field.to_string(), why: why.into() }
    }
}

impl PodTemplate {
    pub fn read(path: &Path) -> Result<Self, TemplateError> {
        let text = std::fs::read_to_string(path).map_err(|error| TemplateError::Unreadable(path.to_owned(), error))?;
        Self::parse(&text)
    }

    /// YAML; JSON is a part of it.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let written: Value = serde_saphyr::from_str(text).map_err(|error| TemplateError::Syntax(error.to_string()))?;
        let spec: PodTemplateSpec = serde_path_to_error::deserialize(&written)
            .map_err(|error| TemplateError::field(error.path(), error.inner().to_string()))?;
        let template = Self { written, spec };
        template.survives_in(&template.spec, "no such field")?;
        Ok(template)
    }

    /// This one with more over it: what both say, the other says.
    pub fn with(&self, more: &Self) -> Result<Self, TemplateError> {
        let mut spec = self.spec.clone();
        spec.merge_from(more.spec.clone());
        let written = serde_json::to_value(&spec).map_err(|error| TemplateError::Syntax(error.to_string()))?;
        Ok(Self { written, spec })
    }

    /// Checks that all that was written is still there in a pod that the template went into.
    pub(super) fn survives_in(&self, pod: &PodTemplateSpec, otherwise: &str) -> Result<(), TemplateError> {
        let pod = serde_json::to_value(pod).map_err(|error| TemplateError::Syntax(error.to_string()))?;
        match first_lost(&self.written, &pod, String::new()) {
            None => Ok(()),
            Some(Lost { field, instead: None }) => Err(TemplateError::field(field, otherwise)),
            Some(Lost { field, instead: Some(value) }) => {
                Err(TemplateError::field(field, format!("the launcher sets this, to {value}")))
            }
        }
    }
}

struct Lost {
    field: String,
    /// What is there instead.
    instead: Option<Value>,
}

/// The first field of `written` that `kept` lacks or has otherwise.
fn first_lost(written: &Value, kept: &Value, field: String) -> Option<Lost> {
    match (written, kept) {
        (Value::Object(written), Value::Object(kept)) => written.iter().find_map(|(key, value)| {
            let field = if field.is_empty() { key.clone() } else { format!("{field}.{key}") };
            match kept.get(key) {
                Some(kept) => first_lost(value, kept, field),
                None if value.is_null() => None,
                None => Some(Lost { field, instead: None }),
            }
        }),
        (Value::Array(written), Value::Array(kept)) => written.iter().enumerate().find_map(|(index, value)| {
            let (field, of_same_key) = named_element(value, kept, format!("{field}[{index}]"));
            match of_same_key {
                Some(kept) => first_lost(value, kept, field),
                None if kept.iter().any(|kept| first_lost(value, kept, String::new()).is_none()) => None,
                None => Some(Lost { field, instead: None }),
            }
        }),
        (Value::Null, _) => None,
        (written, kept) if plain(written) == plain(kept) => None,
        (_, kept) => Some(Lost { field, instead: Some(kept.clone()) }),
    }
}

/// The element of `kept` that a list's key says is the same one.
fn named_element<'a>(value: &Value, kept: &'a [Value], field: String) -> (String, Option<&'a Value>) {
    let key = LIST_KEYS.into_iter().find_map(|key| Some((key, value.get(key)?)));
    match key {
        Some((key, name)) => (field, kept.iter().find(|kept| kept.get(key) == Some(name))),
        None => (field, None),
    }
}

/// Quantities may be written as numbers, and are kept as texts.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        PodTemplate::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn yaml_and_json_say_the_same() {
        let yaml = PodTemplate::parse("spec:\n  nodeSelector: {disk: ssd}\n  priorityClassName: low\n").unwrap();
        let json = r#"{"spec": {"nodeSelector": {"disk": "ssd"}, "priorityClassName": "low"}}"#;
        assert_eq!(yaml, PodTemplate::parse(json).unwrap());
        assert_eq!(PodTemplate::parse(" \n").unwrap(), PodTemplate::default());
    }

    #[test]
    fn a_misspelt_field_is_named() {
        assert_eq!(error("spec: {nodeSelectr: {a: b}}"), "spec.nodeSelectr: no such field");
        let deep = "spec: {containers: [{name: runner, resources: {limit: {cpu: 1}}}]}";
        assert_eq!(error(deep), "spec.containers[0].resources.limit: no such field");
        assert_eq!(error("kind: Pod\nspec: {}"), "kind: no such field");
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named() {
        let wrong = error("spec: {tolerations: [{key: a, tolerationSeconds: soon}]}");
        assert!(wrong.starts_with("spec.tolerations[0].tolerationSeconds: "), "{wrong}");
        assert!(error("spec: [").starts_with("neither YAML nor JSON: "));
        assert!(error("just words").contains("PodTemplateSpec"), "{}", error("just words"));
    }

    #[test]
    fn numbers_and_nulls_are_taken_as_kubernetes_takes_them() {
        let text = "spec: {runtimeClassName: null, containers: [{name: runner, resources: {limits: {cpu: 2}}}]}";
        let template = PodTemplate::parse(text).unwrap();
        let pod = template.spec.spec.unwrap();
        let limits = pod.containers[0].resources.as_ref().unwrap().limits.as_ref().unwrap();
        assert_eq!(limits["cpu"].0, "2");
    }
}

//! The API as OpenAPI 3.1: the paths, written once as data (`operations`), around the schemas that the types themselves
//! give.

mod operations;

use serde_json::{Map, Value, json};
use session::ProblemType;

pub use operations::{OPERATIONS, all};

/// One method of one path.
pub struct Operation {
    pub method: &'static str,
    pub path: &'static str,
    pub id: &'static str,
    pub summary: &'static str,
    bearer: Bearer,
    /// The schema of the request's body.
    body: Option<&'static str>,
    parameters: &'static [Parameter],
    answers: &'static [(u16, &'static str, Content)],
    problems: &'static [ProblemType],
}

/// What a caller shows as bearer token.
enum Bearer {
    None,
    ApiKey,
    PageToken,
}

/// What an answer holds.
enum Content {
    /// JSON of this schema.
    Schema(&'static str),
    /// JSON without a schema of ours.
    Json,
    Html,
    Text,
    Asciicast,
    /// Text or bytes.
    Log,
}

struct Parameter {
    name: &'static str,
    place: &'static str,
    about: &'static str,
    /// JSON Schema, as text.
    schema: &'static str,
    /// May be sent several times.
    many: bool,
}

/// The document. `docs/openapi.json` is this, committed.
pub fn document() -> Value {
    let mut paths = Map::new();
    for operation in all() {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = operation.to_json();
    }
    let mut schemas = session::api::schema()["$defs"].take();
    redirect_refs(&mut schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "CLI Scale",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "One request turns code and a command into a live terminal at a URL."
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key."},
                "pageToken": {
                    "type": "http", "scheme": "bearer",
                    "description": "The page token that a tty.r1 connection is given, in its T frame."
                }
            }
        }
    })
}

impl Operation {
    fn to_json(&self) -> Value {
        let mut operation = json!({
            "operationId": self.id,
            "summary": self.summary,
            "security": match self.bearer {
                Bearer::None => json!([]),
                Bearer::ApiKey => json!([{"apiKey": []}]),
                Bearer::PageToken => json!([{"pageToken": []}]),
            },
            "responses": self.responses(),
        });
        if !self.parameters.is_empty() {
            operation["parameters"] = self.parameters.iter().map(Parameter::to_json).collect();
        }
        if let Some(name) = self.body {
            let content = json!({"application/json": {"schema": reference(name)}});
            operation["requestBody"] = json!({"required": true, "content": content});
        }
        operation
    }

    fn responses(&self) -> Map<String, Value> {
        let mut responses = Map::new();
        for (status, about, content) in self.answers {
            responses.insert(status.to_string(), json!({"description": about, "content": content.to_json()}));
        }
        for problem in self.problems {
            let title = problem.title();
            let entry = responses.entry(problem.status().to_string()).or_insert_with(|| {
                let content = json!({"application/problem+json": {"schema": reference("ProblemBody")}});
                json!({"description": "", "content": content})
            });
            // Two problems may share a status.
            let before = entry["description"].as_str().unwrap_or_default();
            let both = if before.is_empty() { title.to_owned() } else { format!("{before}; or: {title}") };
            entry["description"] = Value::String(both);
        }
        responses
    }
}

impl Content {
    fn to_json(&self) -> Value {
        match self {
            Content::Schema(name) => json!({"application/json": {"schema": reference(name)}}),
            Content::Json => json!({"application/json": {"schema": {"type": "object"}}}),
            Content::Html => json!({"text/html": {"schema": {"type": "string"}}}),
            Content::Text => json!({"text/plain": {"schema": {"type": "string"}}}),
            Content::Asciicast => json!({session::recording::MEDIA_TYPE: {"schema": {"type": "string"}}}),
            Content::Log => json!({
                "text/plain": {"schema": {"type": "string"}},
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            }),
        }
    }
}

impl Parameter {
    fn to_json(&self) -> Value {
        // The texts are this file's own; a test reads them all.
        let one: Value = serde_json::from_str(self.schema).unwrap_or_default();
        let schema = if self.many { json!({"type": "array", "items": one}) } else { one };
        json!({
            "name": self.name, "in": self.place, "description": self.about, "required": self.place == "path",
            "schema": schema
        })
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The schemas refer to each other; here they live in another place than in their own document.
fn redirect_refs(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(target)) = members.get_mut("$ref") {
                *target = target.replace("#/$defs/", "#/components/schemas/");
            }
            members.values_mut().for_each(redirect_refs);
        }
        Value::Array(items) => items.iter_mut().for_each(redirect_refs),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refs(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(target)) = members.get("$ref") {
                    found.push(target.clone());
                }
                members.values().for_each(|member| refs(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| refs(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_parameter_has_a_schema() {
        let document = document();
        let mut found = Vec::new();
        refs(&document, &mut found);
        assert!(!found.is_empty());
        for target in found {
            assert!(document.pointer(target.trim_start_matches('#')).is_some(), "{target} leads nowhere");
        }
        for parameter in all().flat_map(|operation| operation.parameters) {
            assert!(serde_json::from_str::<Value>(parameter.schema).is_ok(), "{}", parameter.name);
        }
    }
}

//! The specification of a session: what a caller may ask for, and the checks that turn a request into it.
//! Everything that is wrong is reported at once, each with its field and limit.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::code_url::{AllowedHosts, CodeSource};
use crate::frames::MAX_SIZE;
use crate::problem::FieldError;
use crate::recording::Record;
use crate::secret::Secret;

/// Bytes of a `code_url`.
pub const MAX_CODE_URL: usize = 2048;
/// Bytes of a `command` or an `install_cmd`.
pub const MAX_COMMAND: usize = 32 * 1024;
/// Bytes of a `prompt`. Linux takes at most 128 KiB for one environment entry (MAX_ARG_STRLEN).
pub const MAX_PROMPT: usize = 96 * 1024;
/// Entries of `env`.
pub const MAX_ENV_ENTRIES: usize = 128;
/// Bytes of one `env` name.
pub const MAX_ENV_NAME: usize = 256;
/// Bytes of one `env` value.
pub const MAX_ENV_VALUE: usize = 32 * 1024;
/// Bytes of all `env` names and values together.
pub const MAX_ENV_TOTAL: usize = 256 * 1024;
/// Entries of `labels`.
pub const MAX_LABELS: usize = 32;
/// Bytes of a label's key or value, as Kubernetes has it.
pub const MAX_LABEL: usize = 63;
/// The template of sessions that ask for none.
pub const DEFAULT_TEMPLATE: &str = "default";
/// Bytes of a `code_auth` member.
pub const MAX_CODE_AUTH: usize = 8 * 1024;

/// Credentials for fetching the code. Write-only: no answer, log or process listing shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CodeAuth {
    /// User name for HTTP Basic authentication. Left out: `x-access-token` for repositories, and for archives the
    /// token is sent as `Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password or access token, at most 8 KiB.
    pub token: Secret,
}

/// The body of `POST /api/sessions`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSession {
    /// `https://HOST/OWNER/REPO/tree/REF/FOLDER`, `*.git` (optionally `#ref`), `*.zip`, `*.tar.gz` or `*.tgz`;
    /// in local mode also `file://` and absolute paths. At most 2048 bytes.
    #[serde(default)]
    pub code_url: String,
    /// Run as `bash -lc COMMAND` (`sh` where there is no bash) in the code's folder. 1 to 32,768 bytes.
    #[serde(default)]
    pub command: String,
    /// Run before the command. Left out: `npm ci` or `npm install` where there is a package.json; empty: nothing.
    /// At most 32,768 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install_cmd: Option<String>,
    /// Reaches the command as `$PROMPT` and `$CLAUDE_PROMPT`. Write-only. At most 98,304 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// SHA-256 of the archive, 64 hexadecimal digits. Archives only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_checksum_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_auth: Option<CodeAuth>,
    /// Environment of the install command and the command. Write-only. At most 128 entries, names
    /// `[A-Za-z_][A-Za-z0-9_]*`, values at most 32 KiB, 256 KiB together.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Secret>,
    /// For the caller's own use: at most 32, keys and values as Kubernetes has them (at most 63 characters).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The terminal's first width, 1 to 1000 columns; default 80.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cols: Option<u16>,
    /// The terminal's first height, 1 to 1000 rows; default 24.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u16>,
    /// Seconds that the session may live, from 1 to the server's maximum (86,400 by default); default 3600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
    /// Seconds that it may live at most when it is extended, from `ttl_seconds` to the server's maximum; default that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ttl_seconds: Option<u64>,
    /// Seconds without an attached operator and without output after which it ends, 1 to 86,400; default 900.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_seconds: Option<u64>,
    /// Local mode with a folder only: run in the folder itself instead of in a copy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_place: bool,
    /// Whether its operators may hand out read-only links to its terminal, from the terminal's page; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<bool>,
    /// What is recorded of its terminal, where the server keeps recordings: `output` (default), `input` (that and what is
    /// typed, passwords included) or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
    /// What the session's sandbox is made of, one of the server's templates; default `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
}

/// What a session's specification may be on this server.
#[derive(Debug, Clone)]
pub struct SpecLimits {
    pub default_ttl: Duration,
    pub max_ttl: Duration,
    pub default_idle: Duration,
    pub allowed_hosts: AllowedHosts,
    /// What sandboxes can be made of; [`DEFAULT_TEMPLATE`] always is one of them.
    pub templates: Vec<String>,
    /// `file://` and plain folders are served.
    pub local: bool,
}

/// The longest `idle_seconds`.
pub const MAX_IDLE_SECS: u64 = 86_400;

impl Default for SpecLimits {
    fn default() -> Self {
        Self {
            default_ttl: Duration::from_secs(3600),
            max_ttl: Duration::from_secs(86_400),
            default_idle: Duration::from_secs(900),
            allowed_hosts: AllowedHosts::any(),
            templates: vec![DEFAULT_TEMPLATE.to_owned()],
            local: false,
        }
    }
}

/// A specification that passed every check. What is secret is apart, in [`SessionSecrets`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSpec {
    pub code_url: String,
    pub command: String,
    /// `None`: by what the folder holds; empty: nothing.
    pub install_cmd: Option<String>,
    /// Lower-case hexadecimal.
    pub checksum_sha256: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub cols: u16,
    pub rows: u16,
    pub ttl_secs: u64,
    pub idle_secs: u64,
    pub in_place: bool,
    /// Operators may hand out read-only links. Sessions of before there was a choice say nothing, and allow it.
    #[serde(default = "shared")]
    pub share: bool,
    /// See [`SessionSpec::max_ttl_secs`]. Sessions of before there was a choice say nothing.
    #[serde(default)]
    pub max_ttl_secs: u64,
    #[serde(default)]
    pub record: Record,
    /// Sessions of before there was a choice say nothing.
    #[serde(default = "default_template")]
    pub template: String,
}

const fn shared() -> bool {
    true
}

fn default_template() -> String {
    DEFAULT_TEMPLATE.to_owned()
}

/// The write-only part of a specification; stored sealed and dropped once the runner has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SessionSecrets {
    pub env: BTreeMap<String, Secret>,
    pub prompt: Option<Secret>,
    pub code_auth: Option<CodeAuth>,
}

impl SessionSpec {
    /// Checks a request; the error names every field that is wrong.
    pub fn validate(request: CreateSession, limits: &SpecLimits) -> Result<(Self, SessionSecrets), Vec<FieldError>> {
        let mut found = Findings::default();
        check_code(&request, limits, &mut found);
        found.text("command", &request.command, MAX_COMMAND);
        if request.command.trim().is_empty() {
            found.refuse("command", "must not be empty");
        }
        found.text("install_cmd", request.install_cmd.as_deref().unwrap_or_default(), MAX_COMMAND);
        found.text("prompt", request.prompt.as_deref().unwrap_or_default(), MAX_PROMPT);
        check_env(&request, &mut found);
        check_labels(&request.labels, &mut found);
        let template = request.template.unwrap_or_else(default_template);
        if !limits.templates.contains(&template) {
            let known = limits.templates.join(", ");
            found.refuse("template", format!("is none of this server's, which are: {known}"));
        }
        let cols = found.range("cols", request.cols.map(u64::from), 80, 1, u64::from(MAX_SIZE));
        let rows = found.range("rows", request.rows.map(u64::from), 24, 1, u64::from(MAX_SIZE));
        let max_ttl = limits.max_ttl.as_secs();
        // Without a time of its own a session takes no more than it may ever have.
        let default_ttl = limits.default_ttl.as_secs().min(request.max_ttl_seconds.unwrap_or(max_ttl));
        let ttl_secs = found.range("ttl_seconds", request.ttl_seconds, default_ttl, 1, max_ttl);
        let least = ttl_secs.clamp(1, max_ttl);
        let max_ttl_secs = found.range("max_ttl_seconds", request.max_ttl_seconds, max_ttl, least, max_ttl);
        let default_idle = limits.default_idle.as_secs();
        let idle_secs = found.range("idle_seconds", request.idle_seconds, default_idle, 1, MAX_IDLE_SECS);
        if !found.0.is_empty() {
            return Err(found.0);
        }
        let spec = Self {
            code_url: request.code_url,
            command: request.command,
            install_cmd: request.install_cmd,
            checksum_sha256: request.code_checksum_sha256.map(|text| text.to_ascii_lowercase()),
            labels: request.labels,
            // Both are at most MAX_SIZE by now.
            cols: cols as u16,
            rows: rows as u16,
            ttl_secs,
            idle_secs,
            in_place: request.in_place,
            share: request.share.unwrap_or_else(shared),
            max_ttl_secs,
            record: request.record.unwrap_or_default(),
            template,
        };
        let secrets =
            SessionSecrets { env: request.env, prompt: request.prompt.map(Secret::new), code_auth: request.code_auth };
        Ok((spec, secrets))
    }

    /// Seconds that the session may live at most, however often it is extended.
    pub fn max_ttl_secs(&self) -> u64 {
        self.max_ttl_secs.max(self.ttl_secs)
    }
}

/// Collects what is wrong.
#[derive(Default)]
struct Findings(Vec<FieldError>);

impl Findings {
    fn refuse(&mut self, field: &str, detail: impl Into<String>) {
        self.0.push(FieldError::new(field, detail));
    }

    /// No C string can hold a NUL byte, so none may reach an argument or an environment entry.
    fn text(&mut self, field: &str, text: &str, max: usize) {
        if text.len() > max {
            self.refuse(field, format!("has {} bytes; at most {max} are possible", text.len()));
        }
        if text.contains('\0') {
            self.refuse(field, "must not hold a NUL character");
        }
    }

    fn range(&mut self, field: &str, value: Option<u64>, default: u64, min: u64, max: u64) -> u64 {
        let value = value.unwrap_or(default.min(max));
        if value < min || value > max {
            self.refuse(field, format!("is {value}; {min} to {max} are possible"));
        }
        value
    }
}

fn check_code(request: &CreateSession, limits: &SpecLimits, found: &mut Findings) {
    if request.code_url.is_empty() {
        return found.refuse("code_url", "must not be empty");
    }
    let before = found.0.len();
    found.text("code_url", &request.code_url, MAX_CODE_URL);
    if found.0.len() > before {
        return;
    }
    let source = match CodeSource::parse(&request.code_url, limits.local) {
        Ok(source) => source,
        Err(error) => return found.refuse("code_url", error.to_string()),
    };
    if let Err(error) = limits.allowed_hosts.check(&source) {
        found.refuse("code_url", error.to_string());
    }
    if let Some(text) = &request.code_checksum_sha256 {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            found.refuse("code_checksum_sha256", "must be 64 hexadecimal digits");
        } else if !source.is_archive() {
            found.refuse("code_checksum_sha256", "applies to archives; name a commit to pin a repository");
        }
    }
    if request.in_place && !matches!(source, CodeSource::Folder { .. }) {
        found.refuse("in_place", "needs a folder as code_url, in local mode");
    }
}

fn check_env(request: &CreateSession, found: &mut Findings) {
    if request.env.len() > MAX_ENV_ENTRIES {
        found.refuse("env", format!("has {} entries; at most {MAX_ENV_ENTRIES} are possible", request.env.len()));
    }
    let total: usize = request.env.iter().map(|(name, value)| name.len() + value.expose().len()).sum();
    if total > MAX_ENV_TOTAL {
        found.refuse("env", format!("has {total} bytes in all; at most {MAX_ENV_TOTAL} are possible"));
    }
    for (name, value) in &request.env {
        if !is_env_name(name) {
            // The name is echoed shortened, since it may be anything.
            let shown: String = name.chars().take(40).collect();
            found
                .refuse(&format!("env.{shown}"), "a name is a letter or _ and then letters, digits and _, at most 256");
            continue;
        }
        if request.prompt.is_some() && matches!(name.as_str(), "PROMPT" | "CLAUDE_PROMPT") {
            found.refuse(&format!("env.{name}"), "is set by prompt; send one of the two");
        }
        found.text(&format!("env.{name}"), value.expose(), MAX_ENV_VALUE);
    }
    if let Some(auth) = &request.code_auth {
        found.text("code_auth.token", auth.token.expose(), MAX_CODE_AUTH);
        if auth.token.expose().is_empty() || auth.token.expose().chars().any(char::is_control) {
            found.refuse("code_auth.token", "must not be empty nor hold control characters");
        }
        let username = auth.username.as_deref().unwrap_or("x");
        found.text("code_auth.username", username, MAX_CODE_AUTH);
        if username.is_empty() || username.contains(':') || username.chars().any(char::is_control) {
            found.refuse("code_auth.username", "must not be empty nor hold a colon or control characters");
        }
    }
}

fn is_env_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first == b'_' || first.is_ascii_alphabetic())
        && bytes.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
        && name.len() <= MAX_ENV_NAME
}

fn check_labels(labels: &BTreeMap<String, String>, found: &mut Findings) {
    if labels.len() > MAX_LABELS {
        found.refuse("labels", format!("has {} entries; at most {MAX_LABELS} are possible", labels.len()));
    }
    for (key, value) in labels {
        let shown: String = key.chars().take(MAX_LABEL).collect();
        if !is_label(key) {
            found.refuse(
                &format!("labels.{shown}"),
                "a key is 1 to 63 letters, digits, -, _ and ., alphanumeric at both ends",
            );
        }
        if !value.is_empty() && !is_label(value) {
            found.refuse(
                &format!("labels.{shown}"),
                "a value is at most 63 letters, digits, -, _ and ., alphanumeric at both ends",
            );
        }
    }
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= MAX_LABEL && bytes.iter().copied().all(inner) && ends(bytes.first()) && ends(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request() -> CreateSession {
        CreateSession {
            code_url: "https://github.com/o/r/tree/main/a".into(),
            command: "node index.js run".into(),
            ..CreateSession::default()
        }
    }

    fn fields(request: CreateSession) -> Vec<String> {
        let errors = SessionSpec::validate(request, &SpecLimits::default()).unwrap_err();
        errors.into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn a_short_request_gets_the_documented_defaults() {
        let (spec, secrets) = SessionSpec::validate(request(), &SpecLimits::default()).unwrap();
        assert_eq!((spec.cols, spec.rows, spec.ttl_secs, spec.idle_secs), (80, 24, 3600, 900));
        assert_eq!(spec.install_cmd, None);
        assert!(spec.share);
        assert_eq!(secrets, SessionSecrets::default());
    }

    #[test]
    fn a_specification_that_was_stored_before_links_could_be_forbidden_allows_them() {
        let forbidding = CreateSession { share: Some(false), ..request() };
        let (spec, _) = SessionSpec::validate(forbidding, &SpecLimits::default()).unwrap();
        let mut stored = serde_json::to_value(&spec).unwrap();
        assert!(!serde_json::from_value::<SessionSpec>(stored.clone()).unwrap().share);
        stored.as_object_mut().unwrap().remove("share").unwrap();
        assert!(serde_json::from_value::<SessionSpec>(stored).unwrap().share);
    }

    #[test]
    fn a_value_above_its_maximum_is_refused_and_never_clamped() {
        let errors =
            SessionSpec::validate(CreateSession { ttl_seconds: Some(86_401), ..request() }, &SpecLimits::default());
        let error = errors.unwrap_err().remove(0);
        assert_eq!((error.field.as_str(), error.detail.as_str()), ("ttl_seconds", "is 86401; 1 to 86400 are possible"));
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        let wrong = CreateSession {
            code_url: "ftp://h.example/x.zip".into(),
            command: "  ".into(),
            install_cmd: Some("x".repeat(MAX_COMMAND + 1)),
            prompt: Some("a\0b".into()),
            env: [("1BAD".to_owned(), Secret::new("x")), ("PROMPT".to_owned(), Secret::new("x"))].into(),
            labels: [("-x".to_owned(), "ok".to_owned()), ("y".to_owned(), "no way".to_owned())].into(),
            cols: Some(0),
            rows: Some(1001),
            ttl_seconds: Some(0),
            idle_seconds: Some(u64::MAX),
            ..CreateSession::default()
        };
        assert_eq!(
            fields(wrong),
            [
                "code_url",
                "command",
                "install_cmd",
                "prompt",
                "env.1BAD",
                "env.PROMPT",
                "labels.-x",
                "labels.y",
                "cols",
                "rows",
                "ttl_seconds",
                "idle_seconds"
            ]
        );
    }

    #[test]
    fn a_checksum_is_for_archives_and_in_place_for_folders() {
        let checksum = Some("a".repeat(64));
        assert_eq!(fields(CreateSession { code_checksum_sha256: checksum, ..request() }), ["code_checksum_sha256"]);
        assert_eq!(fields(CreateSession { in_place: true, ..request() }), ["in_place"]);
    }

    #[test]
    fn an_unknown_member_is_refused_when_read() {
        let error = serde_json::from_str::<CreateSession>(r#"{"code_url":"x","comand":"y"}"#).unwrap_err();
        assert!(error.to_string().contains("comand"), "{error}");
    }

    proptest! {
        #[test]
        fn no_request_makes_validation_panic(code_url in ".{0,60}", command in ".{0,60}", name in ".{0,20}", value in ".{0,20}", ttl: Option<u64>) {
            let env = [(name.clone(), Secret::new(value.clone()))].into();
            let labels = [(name, value)].into();
            let request = CreateSession { code_url, command, env, labels, ttl_seconds: ttl, ..CreateSession::default() };
            let _ = SessionSpec::validate(request, &SpecLimits { local: true, ..SpecLimits::default() });
        }
    }
}

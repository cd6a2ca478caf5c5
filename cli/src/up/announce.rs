//! What `up` prints when it is ready: `key=value` lines for scripts, an empty line, and a command for people.

use std::io::{self, Write};
use std::path::Path;

use url::Url;

use super::RunningUp;

/// Prints it all at once, and flushes: whoever reads the first line may act on it.
pub fn announce(up: &RunningUp, demo_url: Option<&str>, mut out: impl Write) -> io::Result<()> {
    let mut lines = vec![
        ("api_url", up.api_url.to_string().trim_end_matches('/').to_owned()),
        ("api_key_file", up.api_key_file.display().to_string()),
        ("data_dir", up.data_dir.display().to_string()),
        ("admin_url", up.admin_url.to_string().trim_end_matches('/').to_owned()),
        ("launcher", up.launcher.to_owned()),
    ];
    if up.launcher == "process" {
        lines.push(("isolation", "none".to_owned()));
    }
    lines.push(("version", env!("CARGO_PKG_VERSION").to_owned()));
    lines.extend(demo_url.map(|url| ("demo_url", url.to_owned())));
    let mut text: String = lines.into_iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    text += &format!("\n{}\n", curl_line(&up.api_url, &up.api_key_file, &up.hello));
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A command that works when pasted into a POSIX shell, whatever characters the paths have.
pub fn curl_line(api_url: &Url, key_file: &Path, code: &Url) -> String {
    let api = api_url.as_str().trim_end_matches('/');
    let body = serde_json::json!({ "code_url": code.as_str(), "command": "./hello.sh" }).to_string();
    format!(
        "curl -sS -X POST {} -H \"Authorization: Bearer $(cat {})\" -H 'Content-Type: application/json' -d {}",
        quoted(&format!("{api}/api/sessions")),
        quoted(&key_file.display().to_string()),
        quoted(&body),
    )
}

/// Quoted for a shell. Only a NUL cannot be, and no path or URL of ours holds one.
fn quoted(text: &str) -> String {
    shlex::try_quote(text).map_or_else(|_| String::new(), std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_command_survives_spaces_and_quotes_in_paths() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("it's a $HOME");
        std::fs::create_dir(&folder).unwrap();
        let key = folder.join("api-key");
        std::fs::write(&key, "csk_1\n").unwrap();
        let code = Url::from_file_path(&folder).unwrap();
        let line = curl_line(&"http://127.0.0.1:1".parse().unwrap(), &key, &code);
        assert!(!line.contains('\n'));
        // The shell reads it, and a function in curl's place says what it was given.
        let script = format!("curl() {{ printf '%s\\n' \"$@\"; }}; {line}");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let words: Vec<&str> = text.lines().collect();
        assert_eq!(words[..4], ["-sS", "-X", "POST", "http://127.0.0.1:1/api/sessions"]);
        assert_eq!(words[5], "Authorization: Bearer csk_1");
        let body: serde_json::Value = serde_json::from_str(words.last().unwrap()).unwrap();
        assert_eq!(body["code_url"], code.as_str());
        assert_eq!(body["command"], "./hello.sh");
    }
}

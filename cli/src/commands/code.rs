//! What `run` makes of CODE, COMMAND and the like: a request.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use session::Secret;
use session::api::CreateSession;
use url::Url;

use super::sessions::label;
use crate::arguments::RunArgs;
use crate::attach::Local;

/// Where the code is.
#[derive(Debug, PartialEq, Eq)]
pub enum Code {
    Remote(String),
    Folder(PathBuf),
}

impl Code {
    pub fn of(text: &str) -> anyhow::Result<Self> {
        if let Some((scheme, _)) = text.split_once("://") {
            if !scheme.eq_ignore_ascii_case("file") {
                return Ok(Self::Remote(text.to_owned()));
            }
            let path = Url::parse(text).ok().and_then(|url| url.to_file_path().ok());
            return Self::folder(&path.with_context(|| format!("{text} names no folder of this machine"))?);
        }
        Self::folder(Path::new(text))
    }

    fn folder(path: &Path) -> anyhow::Result<Self> {
        let found = path.canonicalize().with_context(|| format!("the folder {}", path.display()))?;
        if !found.is_dir() {
            bail!("{} is not a folder; CODE is a folder, or a URL with its scheme", path.display());
        }
        Ok(Self::Folder(found))
    }

    /// As the API takes it.
    fn url(&self) -> anyhow::Result<String> {
        match self {
            Self::Remote(url) => Ok(url.clone()),
            Self::Folder(path) => match Url::from_file_path(path) {
                Ok(url) => Ok(url.into()),
                Err(()) => bail!("the folder {} cannot be written as a URL", path.display()),
            },
        }
    }
}

/// The request for a session. Values and limits are the server's to judge.
pub fn request(args: &RunArgs, code: &Code, local: Local) -> anyhow::Result<CreateSession> {
    let size = local.size();
    if args.in_place && !matches!(code, Code::Folder(_)) {
        bail!("--in-place needs a folder as CODE");
    }
    Ok(CreateSession {
        code_url: code.url()?,
        command: command_line(&args.command)?,
        install_cmd: args.install.clone(),
        prompt: args.prompt.clone(),
        code_checksum_sha256: args.checksum.clone(),
        env: args.env.iter().map(|entry| environment(entry)).collect::<Result<_, _>>()?,
        labels: args.label.iter().map(|text| label(text)).collect::<Result<_, _>>()?,
        cols: size.map(|size| size.columns),
        rows: size.map(|size| size.rows),
        ttl_seconds: args.ttl,
        idle_seconds: args.idle,
        in_place: args.in_place,
        share: args.no_share.then_some(false),
        template: args.template.clone(),
        ..CreateSession::default()
    })
}

/// One word is for the shell as it is; several are what they are, whatever a shell would make of them.
fn command_line(words: &[String]) -> anyhow::Result<String> {
    match words {
        [line] => Ok(line.clone()),
        words => shlex::try_join(words.iter().map(String::as_str)).context("the command"),
    }
}

/// `NAME=VALUE`, or `NAME` for the value that it has here (which keeps it out of process listings).
fn environment(entry: &str) -> anyhow::Result<(String, Secret)> {
    let (name, value) = match entry.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => (entry, std::env::var(entry).with_context(|| format!("--env {entry}: taken from here"))?),
    };
    if name.is_empty() {
        // The value may be a secret, so the entry is not repeated.
        bail!("--env: a name is missing before the =");
    }
    Ok((name.to_owned(), Secret::new(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_with_a_scheme_is_a_url_and_everything_else_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a b");
        std::fs::create_dir(&folder).unwrap();
        let expected = Code::Folder(folder.canonicalize().unwrap());
        assert_eq!(Code::of(folder.to_str().unwrap()).unwrap(), expected);
        assert_eq!(Code::of(Url::from_file_path(&folder).unwrap().as_str()).unwrap(), expected);
        assert!(expected.url().unwrap().ends_with("a%20b"));
        let remote = "https://github.com/o/r/tree/main";
        assert_eq!(Code::of(remote).unwrap(), Code::Remote(remote.into()));
        for wrong in ["/nowhere/at/all", "github.com/o/r", "file://host/x"] {
            assert!(Code::of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn links_are_forbidden_only_where_that_is_asked_for() {
        use crate::arguments::{Cli, Command};
        use clap::Parser;
        let asked = |words: &[&str]| {
            let words = ["cliscale", "run", "https://h.example/r.git"].iter().chain(words).chain(&["--", "make"]);
            let Command::Run(args) = Cli::parse_from(words).command else { panic!("run") };
            request(&args, &Code::of(&args.code).unwrap(), Local::Stream).unwrap().share
        };
        assert_eq!(asked(&[]), None);
        assert_eq!(asked(&["--no-share"]), Some(false));
    }

    #[test]
    fn one_word_is_a_shell_s_line_and_several_are_words() {
        assert_eq!(command_line(&["make && ls $X".into()]).unwrap(), "make && ls $X");
        let words = ["echo".to_owned(), "a b".to_owned(), "$X".to_owned(), String::new()];
        assert_eq!(shlex::split(&command_line(&words).unwrap()).unwrap(), words);
    }

    #[test]
    fn an_environment_entry_without_a_value_is_taken_from_here() {
        let (name, value) = environment("A=b=c").unwrap();
        assert_eq!((name.as_str(), value.expose()), ("A", "b=c"));
        assert_eq!(environment("PATH").unwrap().1.expose(), std::env::var("PATH").unwrap());
        let text = format!("{:#}", environment("=hunter2").unwrap_err());
        assert!(!text.contains("hunter2"), "{text}");
    }
}

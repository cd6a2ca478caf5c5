//! The documents, read as Markdown: links, the anchors that they can lead to, and code.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// One document.
#[derive(Default)]
pub struct Page {
    /// Its path from the project's folder.
    pub name: PathBuf,
    pub links: Vec<String>,
    pub anchors: BTreeSet<String>,
    pub code: Vec<Code>,
}

pub enum Code {
    Span(String),
    Block { language: String, text: String },
}

impl Code {
    pub fn text(&self) -> &str {
        match self {
            Self::Span(text) | Self::Block { text, .. } => text,
        }
    }
}

/// The project's folder.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().expect("the workspace's folder").to_owned()
}

/// Every document that people read.
pub fn all() -> Vec<Page> {
    let named = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "chart/README.md",
        "bench/README.md",
        "examples/embed/README.md",
        "gateway/web/element/README.md",
    ]
    .map(PathBuf::from);
    let listed = std::fs::read_dir(root().join("docs")).expect("docs");
    let listed = listed.map(|entry| Path::new("docs").join(entry.expect("an entry of docs").file_name()));
    let mut names: Vec<_> =
        named.into_iter().chain(listed).filter(|name| name.extension() == Some("md".as_ref())).collect();
    names.sort();
    names.into_iter().map(|name| Page::read(&name)).collect()
}

impl Page {
    pub fn read(name: &Path) -> Self {
        let text =
            std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{}: {error}", name.display()));
        let mut page = Self { name: name.to_owned(), ..Self::default() };
        let mut headings = HashMap::new();
        let (mut heading, mut block) = (None::<String>, None::<(String, String)>);
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    page.anchors.insert(anchor(&heading.take().unwrap_or_default(), &mut headings));
                }
                Event::Start(Tag::CodeBlock(kind)) => {
                    let language = match kind {
                        CodeBlockKind::Fenced(info) => info.into_string(),
                        CodeBlockKind::Indented => String::new(),
                    };
                    block = Some((language, String::new()));
                }
                Event::End(TagEnd::CodeBlock) => {
                    page.code.extend(block.take().map(|(language, text)| Code::Block { language, text }));
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Text(text) => match (&mut block, &mut heading) {
                    (Some((_, block)), _) => block.push_str(&text),
                    (None, Some(heading)) => heading.push_str(&text),
                    (None, None) => {}
                },
                Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                    page.code.push(Code::Span(text.into_string()));
                }
                _ => {}
            }
        }
        page
    }

    /// Every command line in its blocks, as a shell would take it apart; comments are none.
    pub fn commands(&self) -> Vec<Vec<String>> {
        let blocks = self.code.iter().filter_map(|code| match code {
            Code::Block { language, text } if matches!(&**language, "sh" | "") => Some(text),
            _ => None,
        });
        let lines = blocks.flat_map(|text| {
            let joined = text.replace("\\\n", " ");
            joined.lines().map(str::to_owned).collect::<Vec<_>>()
        });
        lines.filter_map(|line| shlex::split(&line)).flat_map(simple_commands).collect()
    }
}

/// As GitHub makes it of a heading.
fn anchor(heading: &str, seen: &mut HashMap<String, usize>) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    let slug: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
    let before = seen.entry(slug.clone()).or_default();
    *before += 1;
    if *before == 1 { slug } else { format!("{slug}-{}", *before - 1) }
}

/// A line's commands one by one, without the variables that are set before them.
fn simple_commands(words: Vec<String>) -> Vec<Vec<String>> {
    let parts = words.split(|word| matches!(&**word, "|" | "||" | "&&" | ";"));
    let commands = parts.map(|part| {
        let assigns = |word: &&String| word.split_once('=').is_some_and(|(name, _)| is_variable(name));
        part.iter().skip_while(|word| assigns(word) || **word == "export").cloned().collect::<Vec<_>>()
    });
    commands.filter(|command| !command.is_empty()).collect()
}

pub fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

#[test]
fn anchors_are_those_of_github() {
    let mut seen = HashMap::new();
    assert_eq!(anchor("When it fails", &mut seen), "when-it-fails");
    assert_eq!(anchor("A `Job`, and: more", &mut seen), "a-job-and-more");
    assert_eq!(anchor("When it fails", &mut seen), "when-it-fails-1");
}

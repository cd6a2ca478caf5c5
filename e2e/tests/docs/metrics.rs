//! The metrics that `docs/operations.md` names, against those that the servers show.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use testkit::stack::metrics_after_a_session;

use crate::pages::{Code, Page, root};
use crate::places::files_below;

/// What a server shows: the names of metrics with their type, and the names of their samples.
#[derive(Default)]
struct Shown {
    types: BTreeMap<String, String>,
    samples: BTreeSet<String>,
}

impl Shown {
    fn of(text: &str) -> Self {
        let mut shown = Self::default();
        for line in text.lines() {
            if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                shown.types.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                shown.samples.extend(line.split(['{', ' ']).next().map(str::to_owned));
            }
        }
        shown
    }
}

fn operations() -> Page {
    Page::read(Path::new("docs/operations.md"))
}

/// `cliscale_...` words of code.
fn named(code: &Code) -> impl Iterator<Item = &str> {
    let words = code.text().split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("cliscale_"))
}

#[tokio::test]
async fn the_documented_metrics_are_those_that_the_servers_show() -> Result<()> {
    let shown = Shown::of(&metrics_after_a_session().await?);
    let page = operations();
    let documented: BTreeSet<&str> = page.code.iter().flat_map(named).collect();
    for name in &documented {
        let is_histogram = shown.types.get(*name).is_some_and(|kind| kind == "histogram");
        assert!(is_histogram || shown.samples.contains(*name), "{name} is documented and not shown");
    }
    for (name, kind) in &shown.types {
        let as_written = if kind == "counter" { format!("{name}_total") } else { name.clone() };
        assert!(documented.contains(&*as_written), "{as_written} is shown and not documented");
    }
    Ok(())
}

#[test]
fn every_label_value_that_is_asked_for_is_a_word_of_the_code() {
    let folders = ["controller/src", "gateway/src", "session/src", "store/src"].map(|folder| root().join(folder));
    let files = folders.iter().flat_map(|folder| files_below(folder, &["rs"]));
    let sources: String = files.filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    // status="5xx", reason=~"a|b"
    for code in &operations().code {
        let Code::Block { language, text } = code else { continue };
        if language != "yaml" {
            continue;
        }
        for asked in text.split(['{', ',']).filter_map(|part| part.split_once('=').map(|(_, value)| value)) {
            let Some(words) = asked.trim_start_matches('~').strip_prefix('"').and_then(|rest| rest.split('"').next())
            else {
                continue;
            };
            for word in words.split('|') {
                assert!(sources.contains(&format!("\"{word}\"")), "no label has the value {word:?}");
            }
        }
    }
}

#[test]
fn every_alert_is_explained() {
    let page = operations();
    let rules = page.code.iter().find(|code| code.text().starts_with("groups:")).expect("the rules");
    let spans: BTreeSet<&str> = page.code.iter().filter(|code| matches!(code, Code::Span(_))).map(Code::text).collect();
    let alerts: Vec<_> = rules.text().lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in alerts {
        assert!(spans.contains(alert), "{alert} is not explained");
    }
}

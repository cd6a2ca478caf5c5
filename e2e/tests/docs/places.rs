//! Links, files and tests that documents name.

use std::path::{Path, PathBuf};

use crate::pages::{self, Code, Page, root};

/// Where what was built or fetched lies: nothing of it is the project's own.
const FOREIGN: [&str; 4] = ["target", "node_modules", "dist", ".git"];

#[test]
fn every_relative_link_and_anchor_leads_somewhere() {
    let pages = pages::all();
    let mut broken = Vec::new();
    for page in &pages {
        for link in page.links.iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = page.name.parent().expect("a file's folder");
            let target = if path.is_empty() { page.name.clone() } else { normalised(&folder.join(path)) };
            let known = pages.iter().find(|other| other.name == target);
            let anchored = anchor.is_empty() || known.is_some_and(|known| known.anchors.contains(anchor));
            if !root().join(&target).exists() || !anchored {
                broken.push(format!("{}: {link}", page.name.display()));
            }
        }
    }
    assert!(broken.is_empty(), "lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn every_document_is_listed_in_the_readme() {
    let readme = Page::read(Path::new("README.md"));
    let pages = pages::all();
    let unlisted: Vec<_> =
        pages.iter().filter(|page| page.name != readme.name && !is_linked(&readme, &page.name)).collect();
    assert!(unlisted.is_empty(), "{:?}", unlisted.iter().map(|page| &page.name).collect::<Vec<_>>());
}

fn is_linked(readme: &Page, name: &Path) -> bool {
    readme.links.iter().any(|link| Path::new(link) == name)
}

#[test]
fn every_file_that_is_named_is_there() {
    let mut missing = Vec::new();
    for page in pages::all() {
        for code in &page.code {
            let Code::Span(text) = code else { continue };
            if names_a_file(text) && !root().join(text).exists() {
                missing.push(format!("{}: {text}", page.name.display()));
            }
        }
    }
    assert!(missing.is_empty(), "are not there:\n{}", missing.join("\n"));
}

/// A path from the project's folder, written plainly.
fn names_a_file(text: &str) -> bool {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    let first = text.split('/').next().unwrap_or_default();
    let ours = !first.is_empty() && !FOREIGN.contains(&first) && root().join(first).is_dir();
    plain && text.contains('/') && ours && !text.contains("/dist")
}

#[test]
fn every_test_that_is_named_is_there() {
    let sources: String =
        files_below(&root(), &["rs"]).iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    let mut missing = Vec::new();
    for page in pages::all() {
        for code in &page.code {
            let Code::Span(text) = code else { continue };
            let sentence = text.matches('_').count() >= 4 && !text.starts_with("cliscale_");
            let plain = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            if sentence && plain && !sources.contains(&format!("fn {text}(")) {
                missing.push(format!("{}: {text}", page.name.display()));
            }
        }
    }
    assert!(missing.is_empty(), "no such test:\n{}", missing.join("\n"));
}

fn normalised(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(plain.pop()),
            std::path::Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// The project's own files with one of these endings (all, where none is given), below a folder.
pub fn files_below(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if FOREIGN.iter().any(|foreign| name == *foreign) || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            found.extend(files_below(&path, endings));
        } else if endings.is_empty() || endings.iter().any(|ending| path.extension() == Some(ending.as_ref())) {
            found.push(path);
        }
    }
    found
}

//! Embeds the migrations: writes the list of them that `src/migrations/mod.rs` includes, and refuses files that break
//! the rules, such as a migration without its undo.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

// `create` uses the rest of it.
#[allow(dead_code)]
#[path = "src/migrations/files.rs"]
mod files;

fn main() -> Result<(), String> {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=src/migrations/files.rs");
    let variable = |name| env::var_os(name).map(PathBuf::from).ok_or_else(|| format!("{name} is not set"));
    let folder = variable("CARGO_MANIFEST_DIR")?.join("migrations");
    let mut text = String::new();
    for (backend, pairs) in files::BACKENDS.iter().zip(files::all(&folder)?) {
        let _ = writeln!(text, "const {}: &[Script] = &[", backend.to_ascii_uppercase());
        for files::Pair { version, name, up, undo } in pairs {
            let (up, undo) = (include(&up), include(&undo));
            let _ = writeln!(text, "    Script {{ version: {version}, name: {name:?}, up: {up}, undo: {undo} }},");
        }
        text.push_str("];\n");
    }
    let target = variable("OUT_DIR")?.join("scripts.rs");
    fs::write(&target, text).map_err(|error| format!("{}: {error}", target.display()))
}

fn include(path: &Path) -> String {
    format!("include_str!({:?})", path.display().to_string())
}

//! Checks that the page was built before it is embedded, so that a missing one is a sentence and not a macro's error.

use std::path::Path;

/// What the gateway fills in: why a link is no good, and which sites may embed the page.
const MARKERS: [&str; 2] =
    [r#"<meta name="cliscale-refusal" content="">"#, r#"<meta name="cliscale-embedders" content="">"#];

fn main() {
    let dist = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("web/dist");
    let index = dist.join("index.html");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", dist.display());
    if !dist.join("recording.html").is_file() {
        println!("cargo::error=the page for recordings is not built: run `make web`");
    }
    match std::fs::read_to_string(&index) {
        Ok(html) => {
            for marker in MARKERS.iter().filter(|marker| !html.contains(*marker)) {
                println!("cargo::error={} lacks {marker}: run `make web`", index.display());
            }
        }
        Err(error) => println!("cargo::error=the page is not built ({}: {error}): run `make web`", index.display()),
    }
}

//! Checks that the page was built before it is embedded, so that a missing one is a sentence and not a macro's error.

use std::path::Path;

/// What the gateway fills in when it serves the page for a link that is no good.
const MARKER: &str = r#"<meta name="cliscale-refusal" content="">"#;

fn main() {
    let dist = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("web/dist");
    let index = dist.join("index.html");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", dist.display());
    match std::fs::read_to_string(&index) {
        Ok(html) if html.contains(MARKER) => {}
        Ok(_) => println!("cargo::error={} lacks {MARKER}: run `make web`", index.display()),
        Err(error) => println!("cargo::error=the page is not built ({}: {error}): run `make web`", index.display()),
    }
}

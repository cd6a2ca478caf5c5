//! Recorded streams, each a folder: `stream` as a program wrote it; `size` with columns, rows and scrollback, and below
//! them what the size becomes at which offset.
//!
//! `exact` ones are cut at every byte. `inexact` ones end in a state that no sequence can bring a terminal into: `gap`
//! names it and `why` explains it. `reference` ones show why the tests do not take xterm.js quite as it is shipped.

use std::fs;
use std::path::{Path, PathBuf};

use screen::Screen;
use testkit::xterm::{self, Reference, Step, differences};

struct Fixture {
    name: String,
    folder: PathBuf,
    size: (u16, u16),
    scrollback: usize,
    stream: Vec<u8>,
    resizes: Vec<(usize, u16, u16)>,
}

fn fixtures(kind: &str) -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(kind);
    let mut fixtures: Vec<Fixture> = fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap().path())).collect();
    fixtures.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!fixtures.is_empty());
    fixtures
}

fn read(folder: PathBuf) -> Fixture {
    let numbers = |line: &str| line.split(' ').map(|number| number.parse().unwrap()).collect::<Vec<u32>>();
    let sizes = fs::read_to_string(folder.join("size")).unwrap();
    let mut sizes = sizes.lines().map(numbers);
    let first = sizes.next().unwrap();
    Fixture {
        name: folder.file_name().unwrap().to_string_lossy().into_owned(),
        stream: fs::read(folder.join("stream")).unwrap(),
        size: (first[0] as u16, first[1] as u16),
        scrollback: first[2] as usize,
        resizes: sizes.map(|size| (size[0] as usize, size[1] as u16, size[2] as u16)).collect(),
        folder,
    }
}

impl Fixture {
    /// What happens from offset `from` to before `to`; a resize at `to` itself belongs to what follows, unless all does.
    fn steps(&self, from: usize, to: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut at = from;
        for &(offset, cols, rows) in &self.resizes {
            let at_end = offset == self.stream.len() && to == offset;
            if (from..to).contains(&offset) || at_end {
                steps.push(Step::Bytes(self.stream[at..offset].to_vec()));
                steps.push(Step::Resize(cols, rows));
                at = offset;
            }
        }
        steps.push(Step::Bytes(self.stream[at..to].to_vec()));
        steps
    }

    fn screen(&self, steps: &[Step]) -> Screen {
        let mut screen = Screen::new(self.size.0, self.size.1, self.scrollback);
        for step in steps {
            match step {
                Step::Bytes(bytes) => screen.feed(bytes),
                Step::Resize(cols, rows) => screen.resize(*cols, *rows),
            }
        }
        screen
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap().trim_end().to_owned()
    }
}

#[test]
fn every_recorded_stream_can_be_cut_anywhere() {
    if !xterm::available("every_recorded_stream_can_be_cut_anywhere") {
        return;
    }
    let mut reference = Reference::start();
    for fixture in fixtures("exact") {
        let (cols, rows) = fixture.size;
        let end = fixture.stream.len();
        let (expected, _) = reference.render(cols, rows, fixture.scrollback, &fixture.steps(0, end)).unwrap();
        for cut in 0..=end {
            let snapshot = fixture.screen(&fixture.steps(0, cut)).snapshot(fixture.scrollback);
            let mut resumed = vec![Step::Bytes(snapshot.bytes)];
            resumed.push(Step::Bytes(fixture.stream[snapshot.offset as usize..cut].to_vec()));
            if cut < end {
                resumed.extend(fixture.steps(cut, end));
            }
            let (got, _) = reference.render(snapshot.cols, snapshot.rows, fixture.scrollback, &resumed).unwrap();
            let mut found = Vec::new();
            differences("", &expected, &got, &mut found);
            // At some places in the stream the state may be one that cannot be reproduced; its end is none of these.
            let told = !snapshot.gaps.is_empty() && cut < end;
            assert!(found.is_empty() || told, "{} cut at {cut}: {}", fixture.name, found.join("\n"));
        }
    }
}

#[test]
fn a_snapshot_that_cannot_be_exact_says_so() {
    for fixture in fixtures("inexact") {
        let snapshot = fixture.screen(&fixture.steps(0, fixture.stream.len())).snapshot(fixture.scrollback);
        let gaps: Vec<String> = snapshot.gaps.iter().map(|gap| format!("{gap:?}")).collect();
        assert_eq!(gaps, [fixture.text("gap")], "{}: {}", fixture.name, fixture.text("why"));
    }
}

#[test]
fn what_is_mended_in_the_reference_is_still_broken_as_shipped() {
    if !xterm::available("what_is_mended_in_the_reference_is_still_broken_as_shipped") {
        return;
    }
    let (mut mended, mut shipped) = (Reference::start(), Reference::start_as_shipped());
    for fixture in fixtures("reference") {
        let (cols, rows) = fixture.size;
        let steps = fixture.steps(0, fixture.stream.len());
        let render = |reference: &mut Reference| reference.render(cols, rows, fixture.scrollback, &steps).unwrap().0;
        assert_ne!(render(&mut mended), render(&mut shipped), "{}: {}", fixture.name, fixture.text("why"));
    }
}

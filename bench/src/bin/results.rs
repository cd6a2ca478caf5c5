//! Runs every measuring program and writes `bench/RESULTS.md`: each measure with its goal, our figure, the peers', and
//! whether the goal is met. `--smoke` only proves that every program gives rows, and writes nothing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bench::machine::{self, Processors};
use bench::{OURS, Options, Row};
use clap::Parser;

/// Each has a program that is called `bench-` and its name, beside this one, and gives a section.
const PARTS: [(&str, &str); 5] =
    [("starts", "Starts"), ("cluster", "Cluster"), ("gateway", "Gateway"), ("runner", "Runner"), (PAGE, "Page")];
/// This one is a script, and gives no rows where there is no browser.
const PAGE: &str = "page";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/page-flood.mjs");
/// Names the cluster to measure on.
const CLUSTER: &str = "CLISCALE_E2E_KUBECONFIG";
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/RESULTS.md");

fn main() -> Result<()> {
    let options = Options::parse();
    let folder = std::env::current_exe()?.parent().context("this program's folder")?.to_owned();
    let mut page = String::from("# Results\n\n");
    page += "Written by `make bench`. Medians, with minimum and maximum in parentheses where there are several; ";
    page += "peers ran in the same run.\n\n";
    for (what, said) in machine::describe() {
        writeln!(page, "- {what}: {said}")?;
    }
    writeln!(page, "- date: {}", machine::line_of(Command::new("date").args(["-u", "+%F"])))?;
    let (mut failures, mut sections) = (Vec::new(), String::new());
    let (began_all, before) = (Instant::now(), Processors::now()?);
    for (name, title) in PARTS {
        if !options.wants(name) || (name == "cluster" && !has_cluster(&options)) {
            continue;
        }
        let began = Instant::now();
        let (rows, failure) = measure(program(&folder, name), &options).with_context(|| format!("bench-{name}"))?;
        eprintln!("bench-{name}: {} rows after {} s", rows.len(), began.elapsed().as_secs());
        if !rows.is_empty() {
            write!(sections, "\n## {title}\n\n{}", table(&rows))?;
        }
        // What was measured is kept, whatever became of the rest.
        if let Some(failure) = failure.or_else(|| (rows.is_empty() && name != PAGE).then(|| "no rows".to_owned())) {
            writeln!(sections, "\nNot all of it could be measured: {failure}.")?;
            failures.push(format!("bench-{name}: {failure}"));
        }
    }
    let stolen = 100.0 * Processors::now()?.stolen_since(before);
    writeln!(page, "- host: took {stolen:.1} % of the processors meanwhile")?;
    writeln!(
        page,
        "- runs: {} of each, but one of what takes long or does not scatter, in {:.1} minutes",
        options.runs(),
        began_all.elapsed().as_secs_f64() / 60.0
    )?;
    page += &sections;
    if !options.smoke && options.only.is_none() {
        std::fs::write(FILE, page).context(FILE)?;
    } else {
        print!("{page}");
    }
    ensure!(failures.is_empty(), "{}", failures.join("; "));
    Ok(())
}

/// The tests on a cluster take longer than all that a smoke test may, and prove as much.
fn has_cluster(options: &Options) -> bool {
    !options.smoke && std::env::var_os(CLUSTER).is_some_and(|name| !name.is_empty())
}

fn program(folder: &Path, name: &str) -> Command {
    if name != PAGE {
        return Command::new(folder.join(format!("bench-{name}")));
    }
    let mut command = Command::new("node");
    command.arg(SCRIPT).env("CLISCALE_BIN", folder.join("cliscale"));
    command
}

/// The rows of one program, and how it failed, if it did.
fn measure(mut command: Command, options: &Options) -> Result<(Vec<Row>, Option<String>)> {
    command.args(options.smoke.then_some("--smoke")).arg("--runs").arg(options.runs().to_string());
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    let rows = text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no row: {line}")));
    let failure = (!output.status.success()).then(|| output.status.to_string());
    Ok((rows.collect::<Result<_>>()?, failure))
}

/// One line for each measure, in the order in which they came first.
fn table(rows: &[Row]) -> String {
    let mut measures: Vec<&str> = Vec::new();
    let mut of: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        if !of.contains_key(row.measure.as_str()) {
            measures.push(&row.measure);
        }
        of.entry(&row.measure).or_default().push(row);
    }
    let mut text = String::from("| measure | goal | ours | peers | met |\n|---|---|---|---|---|\n");
    for measure in measures {
        let rows = &of[measure];
        let ours = rows.iter().find(|row| row.subject == OURS);
        let peers: Vec<&Row> = rows.iter().copied().filter(|row| row.subject != OURS).collect();
        let goal = ours.and_then(|row| row.goal.as_ref());
        let met = match (ours, goal) {
            (Some(ours), Some(goal)) => match goal.is_met(ours.median(), &peers) {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => "no peer here",
            },
            _ => "",
        };
        let beside: Vec<String> = peers.iter().map(|row| format!("{}: {}", row.subject, shown(row))).collect();
        let goal = goal.map_or("", |goal| goal.text.as_str());
        let unit = rows[0].unit.as_str();
        let ours = ours.map_or(String::new(), |row| shown(row));
        let _ = writeln!(text, "| {measure} ({unit}) | {goal} | {ours} | {} | {met} |", beside.join("<br>"));
    }
    text
}

fn shown(row: &Row) -> String {
    if row.samples.len() < 2 {
        return figure(row.median());
    }
    format!("{} ({} to {})", figure(row.median()), figure(row.min()), figure(row.max()))
}

/// Three digits that count.
fn figure(value: f64) -> String {
    let digits = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bench::Goal;

    #[test]
    fn a_measure_is_one_line_with_its_peers_and_whether_its_goal_is_met() {
        let rows = [
            Row::new("idle", "nginx 1.22", "KiB").samples([17.7]),
            Row::new("idle", OURS, "KiB").samples([2.0, 2.2, 2.1]).goal(Goal::at_most_peers(0.5, &[])),
        ];
        let table = table(&rows);
        let line = table.lines().nth(2).unwrap();
        assert_eq!(
            line,
            "| idle (KiB) | at most 0.5 x the least of all peers | 2.10 (2.00 to 2.20) | nginx 1.22: 17.7 | yes |"
        );
    }
}

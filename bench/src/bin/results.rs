//! Runs every measuring program beside it and writes `bench/RESULTS.md`: each measure with its goal, our figure, the
//! peers', and whether the goal is met. `--smoke` only proves that every program gives rows, and writes nothing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use bench::{OURS, Options, Row, machine};
use clap::Parser;

/// Each is looked for beside this program; its rows are one section.
const PROGRAMS: &[(&str, &str)] = &[("starts", "Starts"), ("gateway", "Gateway"), ("runner", "Runner")];
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/RESULTS.md");

fn main() -> Result<()> {
    let options = Options::parse();
    let folder = std::env::current_exe()?.parent().context("this program's folder")?.to_owned();
    let mut page = String::from("# Results\n\n");
    page += "Written by `make bench`. Medians, with minimum and maximum in parentheses; peers ran in the same run.\n\n";
    for (what, said) in machine::describe() {
        writeln!(page, "- {what}: {said}")?;
    }
    writeln!(page, "- date: {}", machine::line_of(Command::new("date").args(["-u", "+%F"])))?;
    for (program, title) in PROGRAMS {
        let path = folder.join(format!("bench-{program}"));
        if !path.exists() || !options.wants(program) {
            continue;
        }
        let rows = measure(&path, &options).with_context(|| format!("bench-{program}"))?;
        ensure!(!rows.is_empty(), "bench-{program} gave no rows");
        eprintln!("bench-{program}: {} rows", rows.len());
        write!(page, "\n## {title}\n\n{}", table(&rows))?;
    }
    if !options.smoke && options.only.is_none() {
        std::fs::write(FILE, page).context(FILE)?;
    } else {
        print!("{page}");
    }
    Ok(())
}

fn measure(program: &Path, options: &Options) -> Result<Vec<Row>> {
    let mut command = Command::new(program);
    command.args(options.smoke.then_some("--smoke")).arg("--runs").arg(options.runs().to_string());
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{}", output.status);
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no row: {line}"))).collect()
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

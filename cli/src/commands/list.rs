//! `cliscale ls`: sessions as a table, or as the API's JSON.

use std::process::ExitCode;

use jiff::{Timestamp, Unit};
use session::api::SessionView;

use super::sessions::label;
use crate::api::ListQuery;
use crate::arguments::ListArgs;

/// The longest command or code that a row shows.
const CELL: usize = 40;

pub async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let labels = args.label.iter().map(|text| label(text)).collect::<Result<_, _>>()?;
    let server = args.server.require()?;
    let query = ListQuery { state: args.state, labels, limit: args.limit };
    let sessions = server.client.sessions(&query).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&sessions)?);
    } else {
        print!("{}", table(&sessions, Timestamp::now()));
    }
    Ok(ExitCode::SUCCESS)
}

fn table(sessions: &[SessionView], now: Timestamp) -> String {
    let header = ["SESSION", "STATE", "AGE", "COMMAND", "CODE"].map(str::to_owned);
    let rows: Vec<[String; 5]> = std::iter::once(header).chain(sessions.iter().map(|view| row(view, now))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

fn row(view: &SessionView, now: Timestamp) -> [String; 5] {
    let state = match (view.end_reason, view.exit_code) {
        (Some(reason), Some(code)) => format!("{reason} {code}"),
        (Some(reason), None) => reason.to_string(),
        (None, _) => view.stage.to_string(),
    };
    [view.session_id.to_string(), state, age(&view.created_at, now), shown(&view.command), shown(&view.code_url)]
}

/// In the largest unit that fits.
fn age(created: &str, now: Timestamp) -> String {
    let Ok(created) = created.parse::<Timestamp>() else { return "?".to_owned() };
    let seconds = now.since((Unit::Second, created)).map_or(0, |span| span.get_seconds()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Short, and unable to steer the terminal: other people's commands are in it.
fn shown(text: &str) -> String {
    let clean = |char: char| if char.is_control() { ' ' } else { char };
    let mut short: String = text.chars().map(clean).take(CELL).collect();
    if text.chars().nth(CELL).is_some() {
        short.pop();
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use session::{EndReason, SessionId, SessionState, Stage};

    fn view(command: &str, created_at: &str) -> SessionView {
        SessionView {
            session_id: SessionId::new(),
            state: SessionState::Ended,
            stage: Stage::Ended,
            code_url: "https://h.example/a.zip".into(),
            command: command.into(),
            labels: Default::default(),
            created_at: created_at.into(),
            started_at: None,
            ended_at: None,
            expires_at: created_at.into(),
            max_expires_at: None,
            end_reason: Some(EndReason::Exited),
            exit_code: Some(7),
            signal: None,
            end_message: None,
            runner_id: None,
            workspace: None,
        }
    }

    #[test]
    fn a_row_says_how_it_ended_and_cannot_steer_the_terminal() {
        let now: Timestamp = "2026-01-01T03:00:00Z".parse().unwrap();
        let sessions = [
            view("printf '\x1b]0;x\x07'\nmake", "2026-01-01T00:30:00.5Z"),
            view(&"é".repeat(50), "2026-01-01T02:59:00Z"),
        ];
        let text = table(&sessions, now);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("SESSION"));
        assert!(lines[1].contains("exited 7") && lines[1].contains(" 2h ") && lines[1].contains("make"), "{text}");
        assert!(lines[2].contains(" 60s ") && lines[2].contains("é…"), "{text}");
        assert!(!text.contains(['\x1b', '\x07']));
    }
}

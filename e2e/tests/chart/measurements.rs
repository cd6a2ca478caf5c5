//! The dashboard and the alerts of the chart, against what the servers really measure.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::stack::metrics_after_a_session;

use crate::cases::{self, EXTERNAL};
use crate::objects::{Objects, each};
use crate::tools::{Tools, read};

/// The samples that servers show, each with its labels' names.
type Shown = BTreeMap<String, BTreeSet<String>>;

fn shown(text: &str) -> Shown {
    let mut found = Shown::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let end = line.find(['{', ' ']).unwrap_or(line.len());
        let labels = line[end..].strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
        let names = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
        found.entry(line[..end].to_owned()).or_default().extend(names);
    }
    found
}

/// A metric in an expression, with the labels that are asked for and their values.
#[derive(Debug)]
struct Asked {
    metric: String,
    labels: BTreeMap<String, Vec<String>>,
}

/// The metrics of a PromQL expression.
fn asked(expression: &str) -> Vec<Asked> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find("cliscale_") {
        rest = &rest[at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let metric = rest[..end].to_owned();
        rest = &rest[end..];
        let inside = rest.strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
        let mut labels = BTreeMap::new();
        let mut matchers = inside.split('"');
        while let (Some(name), Some(value)) = (matchers.next(), matchers.next()) {
            let name = name.trim_matches([',', ' ']).trim_end_matches(['=', '~', '!']);
            labels.insert(name.to_owned(), value.split('|').map(str::to_owned).collect());
        }
        found.push(Asked { metric, labels });
    }
    found
}

/// Every expression of the dashboard and of the alerts.
fn expressions(objects: &Objects) -> Result<Vec<String>> {
    let dashboard = objects.get("ConfigMap", "cliscale-dashboard")?;
    let dashboard: Value = serde_json::from_str(dashboard["data"]["cliscale.json"].as_str().context("a dashboard")?)?;
    let mut found = Vec::new();
    for panel in each(&dashboard["panels"]).flat_map(|panel| std::iter::once(panel).chain(each(&panel["panels"]))) {
        let before = found.len();
        found.extend(each(&panel["targets"]).filter_map(|target| target["expr"].as_str()).map(str::to_owned));
        ensure!(panel["type"] == "row" || found.len() > before, "a panel that shows nothing: {}", panel["title"]);
    }
    for variable in each(&dashboard["templating"]["list"]) {
        found.extend(variable["query"]["query"].as_str().map(str::to_owned));
    }
    let rules = objects.get("PrometheusRule", "cliscale")?;
    for rule in each(&rules["spec"]["groups"]).flat_map(|group| each(&group["rules"])) {
        found.push(rule["expr"].as_str().context("an alert without an expression")?.to_owned());
    }
    Ok(found)
}

#[tokio::test]
async fn the_dashboard_and_the_alerts_ask_for_what_the_servers_show() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    let on = "monitoring.dashboard.enabled=true,monitoring.rules.enabled=true";
    let objects = tools.render(&cases::set(&[EXTERNAL, on]))?;
    let shown = shown(&metrics_after_a_session().await?);
    // Values that no session of a test brings about are those that the page on operations lists.
    let page = read("docs/operations.md");
    // What Prometheus adds by itself, and a histogram's bounds.
    let added = ["namespace", "pod", "instance", "job", "component", "service", "container", "le"];
    let expressions = expressions(&objects)?;
    ensure!(expressions.len() > 15, "only {} expressions", expressions.len());
    for expression in expressions {
        let balanced = |open: char, close: char| expression.matches(open).count() == expression.matches(close).count();
        ensure!(balanced('(', ')') && balanced('{', '}') && balanced('[', ']'), "{expression}");
        for asked in asked(&expression) {
            let labels =
                shown.get(&asked.metric).with_context(|| format!("no server shows {} ({expression})", asked.metric))?;
            for (label, values) in &asked.labels {
                ensure!(labels.contains(label) || added.contains(&&**label), "{} has no label {label}", asked.metric);
                let ours = labels.contains(label) && !added.contains(&&**label);
                for value in values.iter().filter(|value| ours && !value.starts_with('$')) {
                    ensure!(page.contains(value.trim_end_matches(".*")), "{}: {label} is never {value}", asked.metric);
                }
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_gateways_autoscaler_asks_for_a_metric_that_gateways_show() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    let on = "gateway.autoscaling.enabled=true,gateway.autoscaling.connections.enabled=true";
    let objects = tools.render(&cases::set(&[EXTERNAL, on]))?;
    let scaler = objects.get("HorizontalPodAutoscaler", "cliscale-gateway")?;
    let metrics: Vec<&str> =
        each(&scaler["spec"]["metrics"]).filter_map(|metric| metric["pods"]["metric"]["name"].as_str()).collect();
    let [metric] = metrics.as_slice() else { anyhow::bail!("{metrics:?}") };
    ensure!(shown(&metrics_after_a_session().await?).contains_key(*metric), "no gateway shows {metric}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read() {
        let found = asked(r#"sum(rate(cliscale_a_total{x="1",y=~"b|c"}[5m])) / max(cliscale_b)"#);
        assert_eq!(found[0].metric, "cliscale_a_total");
        assert_eq!(found[0].labels["y"], ["b", "c"]);
        assert_eq!((found[1].metric.as_str(), found[1].labels.len()), ("cliscale_b", 0));
        assert_eq!(shown("# TYPE a\na_total{x=\"1\",y=\"2\"} 3\nb 1\n")["a_total"].len(), 2);
    }
}

//! What a measure is wanted to be: a bound, or a relation to the peers that were measured in the same run.

use serde::{Deserialize, Serialize};

use crate::Row;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Goal {
    /// As people read it.
    pub text: String,
    pub limit: Limit,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Limit {
    AtMost(f64),
    AtLeast(f64),
    /// At most `factor` of the least of these peers (those whose names begin so); without names, of all.
    AtMostPeers {
        factor: f64,
        peers: Vec<String>,
    },
    /// At least `factor` of the most of these peers.
    AtLeastPeers {
        factor: f64,
        peers: Vec<String>,
    },
}

impl Goal {
    pub fn at_most(value: f64) -> Self {
        Self { text: format!("at most {value}"), limit: Limit::AtMost(value) }
    }

    pub fn at_least(value: f64) -> Self {
        Self { text: format!("at least {value}"), limit: Limit::AtLeast(value) }
    }

    pub fn at_most_peers(factor: f64, peers: &[&str]) -> Self {
        let text = format!("at most {}the least of {}", times(factor), names(peers));
        Self { text, limit: Limit::AtMostPeers { factor, peers: owned(peers) } }
    }

    pub fn at_least_peers(factor: f64, peers: &[&str]) -> Self {
        let text = format!("at least {}the most of {}", times(factor), names(peers));
        Self { text, limit: Limit::AtLeastPeers { factor, peers: owned(peers) } }
    }

    /// `None`: there is no peer to compare with.
    pub fn is_met(&self, value: f64, peers: &[&Row]) -> Option<bool> {
        match &self.limit {
            Limit::AtMost(limit) => Some(value <= *limit),
            Limit::AtLeast(limit) => Some(value >= *limit),
            Limit::AtMostPeers { factor, peers: names } => {
                medians(peers, names).reduce(f64::min).map(|least| value <= factor * least)
            }
            Limit::AtLeastPeers { factor, peers: names } => {
                medians(peers, names).reduce(f64::max).map(|most| value >= factor * most)
            }
        }
    }
}

fn medians(peers: &[&Row], names: &[String]) -> impl Iterator<Item = f64> {
    // A program goes by its first word, one of several ways to run it by the whole.
    let is = |row: &Row, name: &str| row.subject == name || row.subject.split(' ').next() == Some(name);
    let named = |row: &Row| names.is_empty() || names.iter().any(|name| is(row, name));
    peers.iter().filter(|row| named(row)).map(|row| row.median()).collect::<Vec<_>>().into_iter()
}

fn times(factor: f64) -> String {
    if factor == 1.0 { String::new() } else { format!("{factor} x ") }
}

fn names(peers: &[&str]) -> String {
    if peers.is_empty() { "all peers".to_owned() } else { peers.join(", ") }
}

fn owned(peers: &[&str]) -> Vec<String> {
    peers.iter().map(|&name| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relation_is_to_the_best_of_the_peers_that_it_names() {
        let (fast, slow) =
            (Row::new("m", "haproxy 2.6", "s").samples([1.0]), Row::new("m", "nginx", "s").samples([2.0]));
        let peers = [&fast, &slow];
        assert_eq!(Goal::at_most_peers(1.0, &[]).is_met(1.5, &peers), Some(false));
        assert_eq!(Goal::at_most_peers(1.0, &["nginx"]).is_met(1.5, &peers), Some(true));
        assert_eq!(Goal::at_least_peers(0.8, &[]).is_met(1.6, &peers), Some(true));
        assert_eq!(Goal::at_least_peers(1.0, &["wetty"]).is_met(1.6, &peers), None);
        let tuned = Row::new("m", "haproxy 2.6 tuned", "s").samples([0.5]);
        let peers = [&fast, &tuned];
        assert_eq!(Goal::at_most_peers(1.0, &["haproxy"]).is_met(0.8, &peers), Some(false));
        assert_eq!(Goal::at_most_peers(1.0, &["haproxy 2.6"]).is_met(0.8, &peers), Some(true));
    }
}

//! What a set of network policies lets through, as the API describes it: a connection needs the sender's permission and
//! the receiver's, and whoever no policy selects in a direction is open in it.
//!
//! On one thing network plugins differ: whether an `ipBlock` also means pods that have such an address. A verdict is
//! therefore asked for under one of two readings, and what must be allowed is judged by the meaner, what must be
//! refused by the more generous.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub type Labels = BTreeMap<String, String>;

/// One end of a connection.
#[derive(Debug, Clone)]
pub enum End {
    Pod(PodEnd),
    /// Anything that is not a pod of the cluster: the internet, a node, a balancer.
    Outside(IpAddr),
}

#[derive(Debug, Clone)]
pub struct PodEnd {
    pub namespace: String,
    pub namespace_labels: Labels,
    pub labels: Labels,
    pub address: IpAddr,
    /// Its containers' named ports.
    pub ports: BTreeMap<String, u16>,
}

/// Whether an address block also means the pods in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocks {
    MeanPodsToo,
    MeanOthersAlone,
}

/// Where a connection goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    pub protocol: &'static str,
    pub number: u16,
}

pub fn tcp(number: u16) -> Port {
    Port { protocol: "TCP", number }
}

pub fn udp(number: u16) -> Port {
    Port { protocol: "UDP", number }
}

/// The policies of a cluster.
pub struct Policies(pub Vec<NetworkPolicy>);

impl Policies {
    /// Whether a connection is let through.
    pub fn allow(&self, from: &End, to: &End, port: Port, blocks: Blocks) -> bool {
        self.sends(from, to, port, blocks) && self.receives(from, to, port, blocks)
    }

    fn sends(&self, from: &End, to: &End, port: Port, blocks: Blocks) -> bool {
        let End::Pod(sender) = from else { return true };
        let mut open = true;
        for policy in self.selecting(sender, "Egress") {
            open = false;
            let namespace = namespace(policy);
            let fits = |rule: &NetworkPolicyEgressRule| {
                peers_fit(rule.to.as_deref(), namespace, to, blocks) && ports_fit(rule.ports.as_deref(), to, port)
            };
            if policy.spec.iter().flat_map(|spec| spec.egress.iter().flatten()).any(fits) {
                return true;
            }
        }
        open
    }

    fn receives(&self, from: &End, to: &End, port: Port, blocks: Blocks) -> bool {
        let End::Pod(receiver) = to else { return true };
        let mut open = true;
        for policy in self.selecting(receiver, "Ingress") {
            open = false;
            let namespace = namespace(policy);
            let fits = |rule: &NetworkPolicyIngressRule| {
                peers_fit(rule.from.as_deref(), namespace, from, blocks) && ports_fit(rule.ports.as_deref(), to, port)
            };
            if policy.spec.iter().flat_map(|spec| spec.ingress.iter().flatten()).any(fits) {
                return true;
            }
        }
        open
    }

    /// The policies that say something about a pod in a direction.
    fn selecting<'a>(&'a self, pod: &'a PodEnd, direction: &'a str) -> impl Iterator<Item = &'a NetworkPolicy> {
        self.0.iter().filter(move |policy| {
            let Some(spec) = &policy.spec else { return false };
            let applies = match &spec.policy_types {
                Some(types) => types.iter().any(|named| named == direction),
                // Left out: ingress always, egress where there are rules of it.
                None => direction == "Ingress" || spec.egress.is_some(),
            };
            let everybody = LabelSelector::default();
            let selector = spec.pod_selector.as_ref().unwrap_or(&everybody);
            applies && namespace(policy) == pod.namespace && selects(selector, &pod.labels)
        })
    }
}

fn namespace(policy: &NetworkPolicy) -> &str {
    policy.metadata.namespace.as_deref().unwrap_or("default")
}

/// No peers, or none named: everybody.
fn peers_fit(peers: Option<&[NetworkPolicyPeer]>, namespace: &str, end: &End, blocks: Blocks) -> bool {
    let peers = peers.unwrap_or_default();
    peers.is_empty() || peers.iter().any(|peer| peer_fits(peer, namespace, end, blocks))
}

fn peer_fits(peer: &NetworkPolicyPeer, namespace: &str, end: &End, blocks: Blocks) -> bool {
    match (&peer.ip_block, end) {
        (Some(block), End::Outside(address)) => contains(block, *address),
        (Some(block), End::Pod(pod)) => blocks == Blocks::MeanPodsToo && contains(block, pod.address),
        (None, End::Outside(_)) => false,
        (None, End::Pod(pod)) => {
            let here = match &peer.namespace_selector {
                Some(selector) => selects(selector, &pod.namespace_labels),
                None => pod.namespace == namespace,
            };
            // A peer that selects nothing at all is refused by the API server.
            let some = peer.namespace_selector.is_some() || peer.pod_selector.is_some();
            some && here && peer.pod_selector.as_ref().is_none_or(|selector| selects(selector, &pod.labels))
        }
    }
}

/// The network of a text; the API server refuses what is none.
pub fn network(text: &str) -> IpNet {
    text.parse().unwrap_or_else(|error| panic!("{text} is no network: {error}"))
}

fn contains(block: &IPBlock, address: IpAddr) -> bool {
    let excepted = block.except.iter().flatten().any(|except| network(except).contains(&address));
    network(&block.cidr).contains(&address) && !excepted
}

/// No ports, or none named: every port.
fn ports_fit(ports: Option<&[NetworkPolicyPort]>, receiver: &End, port: Port) -> bool {
    let ports = ports.unwrap_or_default();
    ports.is_empty() || ports.iter().any(|rule| port_fits(rule, receiver, port))
}

fn port_fits(rule: &NetworkPolicyPort, receiver: &End, port: Port) -> bool {
    if rule.protocol.as_deref().unwrap_or("TCP") != port.protocol {
        return false;
    }
    match &rule.port {
        None => true,
        Some(IntOrString::Int(first)) => {
            let last = rule.end_port.unwrap_or(*first);
            (*first..=last).contains(&i32::from(port.number))
        }
        // A name is the receiver's own; what is no pod has none.
        Some(IntOrString::String(name)) => match receiver {
            End::Pod(pod) => pod.ports.get(name) == Some(&port.number),
            End::Outside(_) => false,
        },
    }
}

/// An empty selector selects everything.
pub fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let expressions = selector.match_expressions.iter().flatten().all(|expression| {
        let value = labels.get(&expression.key);
        let among = value.is_some_and(|value| expression.values.iter().flatten().any(|wanted| wanted == value));
        match expression.operator.as_str() {
            "In" => among,
            "NotIn" => !among,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            other => panic!("{other} is no operator"),
        }
    });
    equal && expressions
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;

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
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(namespace: &str, label: &str, address: &str) -> End {
        End::Pod(PodEnd {
            namespace: namespace.to_owned(),
            namespace_labels: Labels::from([("name".to_owned(), namespace.to_owned())]),
            labels: Labels::from([("app".to_owned(), label.to_owned())]),
            address: address.parse().expect("an address"),
            ports: BTreeMap::from([("http".to_owned(), 8080)]),
        })
    }

    fn outside(address: &str) -> End {
        End::Outside(address.parse().expect("an address"))
    }

    fn policies(specs: &[Value]) -> Policies {
        let policy = |spec: &Value| json!({ "metadata": { "name": "a", "namespace": "here" }, "spec": spec });
        Policies(specs.iter().map(|spec| serde_json::from_value(policy(spec)).expect("a policy")).collect())
    }

    /// What is allowed under both readings, or refused under both.
    fn verdict(policies: &Policies, from: &End, to: &End, port: Port) -> bool {
        let meaner = policies.allow(from, to, port, Blocks::MeanOthersAlone);
        assert_eq!(meaner, policies.allow(from, to, port, Blocks::MeanPodsToo));
        meaner
    }

    #[test]
    fn without_policies_everything_is_open() {
        let none = policies(&[]);
        assert!(verdict(&none, &pod("here", "a", "10.0.0.1"), &pod("there", "b", "10.0.0.2"), tcp(1)));
        assert!(verdict(&none, &pod("here", "a", "10.0.0.1"), &outside("8.8.8.8"), udp(53)));
    }

    #[test]
    fn a_policy_without_rules_closes_its_directions_for_its_pods_alone() {
        let (a, b) = (pod("here", "a", "10.0.0.1"), pod("here", "b", "10.0.0.2"));
        let same_label_elsewhere = pod("there", "a", "10.0.0.3");
        let both = policies(&[
            json!({ "podSelector": { "matchLabels": { "app": "a" } }, "policyTypes": ["Ingress", "Egress"] }),
        ]);
        assert!(!verdict(&both, &a, &b, tcp(80)));
        assert!(!verdict(&both, &b, &a, tcp(80)));
        assert!(verdict(&both, &b, &same_label_elsewhere, tcp(80)));
        let default = policies(&[json!({ "podSelector": {} })]);
        assert!(!verdict(&default, &b, &a, tcp(80)));
        assert!(verdict(&default, &a, &outside("8.8.8.8"), tcp(80)), "egress is not meant by default");
        let by_rules = policies(&[json!({ "podSelector": {}, "egress": [] })]);
        assert!(!verdict(&by_rules, &a, &outside("8.8.8.8"), tcp(80)), "egress is meant where it has rules");
    }

    #[test]
    fn both_ends_must_agree_and_rules_of_several_policies_add_up() {
        let (a, b) = (pod("here", "a", "10.0.0.1"), pod("here", "b", "10.0.0.2"));
        let deny = json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"] });
        let to_b = json!({
            "podSelector": { "matchLabels": { "app": "a" } }, "policyTypes": ["Egress"],
            "egress": [{ "to": [{ "podSelector": { "matchLabels": { "app": "b" } } }], "ports": [{ "port": "http" }] }],
        });
        let from_a = json!({
            "podSelector": { "matchLabels": { "app": "b" } }, "policyTypes": ["Ingress"],
            "ingress": [{ "from": [{ "podSelector": { "matchLabels": { "app": "a" } } }], "ports": [{ "port": 8080 }] }],
        });
        assert!(!verdict(&policies(&[deny.clone(), to_b.clone()]), &a, &b, tcp(8080)));
        assert!(!verdict(&policies(&[deny.clone(), from_a.clone()]), &a, &b, tcp(8080)));
        let all = policies(&[deny, to_b, from_a]);
        assert!(verdict(&all, &a, &b, tcp(8080)));
        assert!(!verdict(&all, &a, &b, tcp(8081)), "another port");
        assert!(!verdict(&all, &a, &b, udp(8080)), "another protocol");
        assert!(!verdict(&all, &b, &a, tcp(8080)), "the other way");
        assert!(!verdict(&all, &a, &pod("there", "b", "10.0.0.3"), tcp(8080)), "a selector means this namespace");
    }

    #[test]
    fn namespaces_are_selected_by_label_and_together_with_pods() {
        let rule = |peer: Value| {
            policies(&[json!({ "podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{ "from": [peer] }] })])
        };
        let (to, there) = (pod("here", "a", "10.0.0.1"), json!({ "matchLabels": { "name": "there" } }));
        let whole = rule(json!({ "namespaceSelector": there }));
        assert!(verdict(&whole, &pod("there", "x", "10.0.0.2"), &to, tcp(1)));
        assert!(!verdict(&whole, &pod("here", "x", "10.0.0.2"), &to, tcp(1)));
        assert!(!verdict(&whole, &outside("10.0.0.2"), &to, tcp(1)), "a selector means pods");
        let some = rule(json!({ "namespaceSelector": there, "podSelector": { "matchLabels": { "app": "x" } } }));
        assert!(verdict(&some, &pod("there", "x", "10.0.0.2"), &to, tcp(1)));
        assert!(!verdict(&some, &pod("there", "y", "10.0.0.2"), &to, tcp(1)));
        let any = rule(json!({ "namespaceSelector": {} }));
        assert!(verdict(&any, &pod("elsewhere", "y", "10.0.0.2"), &to, tcp(1)));
    }

    #[test]
    fn blocks_have_exceptions_ranges_have_ends_and_pods_in_a_block_are_read_both_ways() {
        let block = json!({ "ipBlock": { "cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "169.254.0.0/16"] } });
        let set = policies(&[json!({
            "podSelector": {}, "policyTypes": ["Egress"],
            "egress": [{ "to": [block], "ports": [{ "port": 400, "endPort": 500 }, { "protocol": "UDP" }] }],
        })]);
        let from = pod("here", "a", "10.0.0.1");
        assert!(verdict(&set, &from, &outside("8.8.8.8"), tcp(400)));
        assert!(verdict(&set, &from, &outside("8.8.8.8"), tcp(500)));
        assert!(!verdict(&set, &from, &outside("8.8.8.8"), tcp(501)));
        assert!(verdict(&set, &from, &outside("8.8.8.8"), udp(7)), "a protocol without a port is all of it");
        assert!(!verdict(&set, &from, &outside("10.1.1.1"), tcp(443)));
        assert!(!verdict(&set, &from, &outside("169.254.169.254"), tcp(443)));
        assert!(!verdict(&set, &from, &outside("2001:db8::1"), tcp(443)), "another family");
        let public = pod("there", "b", "100.1.1.1");
        assert!(set.allow(&from, &public, tcp(443), Blocks::MeanPodsToo));
        assert!(!set.allow(&from, &public, tcp(443), Blocks::MeanOthersAlone));
    }

    #[test]
    fn expressions_of_selectors_are_understood() {
        let with = |expression: Value| {
            let selector: LabelSelector =
                serde_json::from_value(json!({ "matchExpressions": [expression] })).expect("a selector");
            selects(&selector, &Labels::from([("app".to_owned(), "a".to_owned())]))
        };
        assert!(with(json!({ "key": "app", "operator": "In", "values": ["a", "b"] })));
        assert!(!with(json!({ "key": "app", "operator": "NotIn", "values": ["a"] })));
        assert!(with(json!({ "key": "app", "operator": "Exists" })));
        assert!(!with(json!({ "key": "app", "operator": "DoesNotExist" })));
        assert!(with(json!({ "key": "tier", "operator": "NotIn", "values": ["a"] })));
        assert!(!with(json!({ "key": "tier", "operator": "In", "values": ["a"] })));
    }
}

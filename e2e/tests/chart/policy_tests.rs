//! The evaluator of network policies, against the API's rules one by one.

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
    let both =
        policies(&[json!({ "podSelector": { "matchLabels": { "app": "a" } }, "policyTypes": ["Ingress", "Egress"] })]);
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

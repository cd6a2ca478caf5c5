//! Who may talk to whom, by evaluation of the network policies that the chart renders. The network of the test cluster
//! does not enforce policies; this says what they mean where one does.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};

use crate::cases::{BUNDLED, EXTERNAL};
use crate::neighbourhood::{
    API_SERVER, Cluster, DATABASE, GOOGLE_PROBE, METADATA, NODE_LOCAL_DNS, PUBLIC, dns, ingress_controller, neighbour,
    outside, prometheus, runner,
};
use crate::objects::{kind, name, pod};
use crate::policy::{End, Labels, network, tcp, udp};
use crate::tools::{RELEASE, Tools};

/// What must hold however the release is installed.
fn check_runners(cluster: &Cluster) -> Result<()> {
    let (controller, gateway, runner_pod) = (cluster.controller()?, cluster.gateway()?, runner(RELEASE, "10.96.2.1"));
    let another = runner(RELEASE, "10.96.2.2");
    cluster.allows("gateway to runner", &gateway, &runner_pod, tcp(7681));
    cluster.allows("controller to runner", &controller, &runner_pod, tcp(7681));
    cluster.allows("runner to the internal port", &runner_pod, &controller, tcp(8081));
    cluster.allows("runner to the cluster's DNS", &runner_pod, &dns(), udp(53));
    cluster.allows("runner to the cluster's DNS", &runner_pod, &dns(), tcp(53));
    cluster.allows("runner to NodeLocal DNS", &runner_pod, &outside(NODE_LOCAL_DNS), udp(53));
    for port in [tcp(443), tcp(80), tcp(22), udp(443)] {
        cluster.allows("runner to the public internet", &runner_pod, &outside(PUBLIC), port);
        cluster.allows("runner to the public internet", &runner_pod, &outside("2606:4700::1111"), port);
    }
    cluster.refuses("gateway to another port of a runner", &gateway, &runner_pod, tcp(22));
    for port in [tcp(7681), tcp(22), tcp(8080), udp(53)] {
        cluster.refuses("runner to runner", &runner_pod, &another, port);
    }
    for port in [tcp(8080), tcp(9090), tcp(22)] {
        cluster.refuses("runner to another port of the controller", &runner_pod, &controller, port);
        cluster.refuses("runner to the gateway", &runner_pod, &gateway, port);
    }
    for (what, at) in [
        ("metadata", METADATA),
        ("the API server", API_SERVER),
        ("the API server's Service", "10.96.0.1"),
        ("a database", DATABASE),
        ("10.0.0.0/8", "10.255.1.1"),
        ("172.16.0.0/12", "172.31.255.255"),
        ("192.168.0.0/16", "192.168.1.1"),
        ("carrier-grade NAT", "100.64.0.1"),
        ("loopback", "127.0.0.1"),
        ("this network", "0.0.0.1"),
        ("benchmarks", "198.18.0.1"),
        ("multicast", "224.0.0.1"),
        ("broadcast", "255.255.255.255"),
        ("NodeLocal DNS", NODE_LOCAL_DNS),
        ("IPv6 loopback", "::1"),
        ("an IPv4 address in 6to4", "2002:a00:1::1"),
        ("an IPv4 address behind NAT64", "64:ff9b::a00:1"),
        ("metadata over IPv6", "fd00:ec2::254"),
        ("a link-local address", "fe80::1"),
        ("a unique local address", "fc00::1"),
        ("IPv6 multicast", "ff02::1"),
    ] {
        for port in [tcp(80), tcp(443), tcp(5432), tcp(6443), tcp(10250)] {
            cluster.refuses(&format!("runner to {what}"), &runner_pod, &outside(at), port);
        }
    }
    cluster.refuses("runner to a neighbour", &runner_pod, &neighbour(), tcp(80));
    cluster.refuses("runner to metrics of DNS", &runner_pod, &dns(), tcp(9153));
    for (what, stranger) in [
        ("a neighbour", neighbour()),
        ("another runner", another),
        ("an ingress controller", ingress_controller()),
        ("the internet", outside(PUBLIC)),
        ("another release's runner", runner("other", "10.96.2.3")),
    ] {
        cluster.refuses(&format!("{what} to a runner"), &stranger, &runner_pod, tcp(7681));
    }
    Ok(())
}

fn check_servers(cluster: &Cluster) -> Result<()> {
    let (controller, gateway, runner_pod) = (cluster.controller()?, cluster.gateway()?, runner(RELEASE, "10.96.2.1"));
    cluster.allows("controller to the API server", &controller, &outside(API_SERVER), tcp(443));
    cluster.allows("controller to the API server", &controller, &outside(API_SERVER), tcp(6443));
    cluster.allows("gateway to the signing keys", &gateway, &controller, tcp(8080));
    cluster.allows("gateway to the internal port", &gateway, &controller, tcp(8081));
    for (what, pod) in [("controller", &controller), ("gateway", &gateway)] {
        cluster.allows(&format!("{what} to DNS"), pod, &dns(), udp(53));
        cluster.allows(&format!("{what} to NodeLocal DNS"), pod, &outside(NODE_LOCAL_DNS), udp(53));
        cluster.allows(&format!("monitoring to {what}"), &prometheus(), pod, tcp(9090));
        cluster.refuses(&format!("runner to {what}'s metrics"), &runner_pod, pod, tcp(9090));
        cluster.refuses(&format!("an ingress controller to {what}'s metrics"), &ingress_controller(), pod, tcp(9090));
        cluster.refuses(&format!("a balancer to {what}'s metrics"), &outside(GOOGLE_PROBE), pod, tcp(9090));
    }
    for (what, stranger) in [
        ("a neighbour", neighbour()),
        ("an ingress controller", ingress_controller()),
        ("monitoring", prometheus()),
        ("the internet", outside(PUBLIC)),
        ("a balancer", outside(GOOGLE_PROBE)),
        ("another release's runner", runner("other", "10.96.2.3")),
    ] {
        cluster.refuses(&format!("{what} to the internal port"), &stranger, &controller, tcp(8081));
    }
    cluster.refuses("gateway to the API server", &gateway, &outside(API_SERVER), tcp(443));
    cluster.refuses("gateway to metadata", &gateway, &outside(METADATA), tcp(80));
    Ok(())
}

#[test]
fn with_an_external_database_everybody_reaches_what_they_need_and_no_more() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    let cluster = Cluster::new(&tools, &[EXTERNAL])?;
    check_runners(&cluster)?;
    check_servers(&cluster)?;
    let migration = cluster.pod("Job", "cliscale-migrate")?;
    let (controller, gateway) = (cluster.controller()?, cluster.gateway()?);
    for (what, pod) in [("controller", &controller), ("gateway", &gateway), ("migration", &migration)] {
        cluster.allows(&format!("{what} to the database"), pod, &outside(DATABASE), tcp(5432));
        cluster.refuses(&format!("{what} to another port there"), pod, &outside(DATABASE), tcp(22));
        cluster.allows(&format!("an ingress controller to {what}"), &ingress_controller(), &controller, tcp(8080));
        cluster.refuses(&format!("the internet to {what}"), &outside(PUBLIC), pod, tcp(8080));
    }
    cluster.refuses("migration to the API server", &migration, &outside(API_SERVER), tcp(443));
    cluster.refuses("anybody to migration", &neighbour(), &migration, tcp(80));
    Ok(())
}

#[test]
fn the_bundled_database_is_reached_by_those_who_use_it_alone() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    let cluster = Cluster::new(&tools, &[BUNDLED])?;
    check_runners(&cluster)?;
    check_servers(&cluster)?;
    let database = cluster.pod("StatefulSet", "cliscale-postgresql")?;
    let (controller, gateway) = (cluster.controller()?, cluster.gateway()?);
    cluster.allows("controller to the database", &controller, &database, tcp(5432));
    cluster.allows("gateway to the database", &gateway, &database, tcp(5432));
    for (what, stranger) in [
        ("runner", runner(RELEASE, "10.96.2.1")),
        ("neighbour", neighbour()),
        ("ingress controller", ingress_controller()),
        ("the internet", outside(PUBLIC)),
    ] {
        cluster.refuses(&format!("{what} to the database"), &stranger, &database, tcp(5432));
    }
    cluster.refuses("the database to the internet", &database, &outside(PUBLIC), tcp(443));
    Ok(())
}

#[test]
fn on_gke_googles_proxies_and_probes_reach_the_public_ports_and_other_pods_do_not() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    let cluster = Cluster::new(&tools, &[EXTERNAL, "ingress.preset=gce"])?;
    check_runners(&cluster)?;
    check_servers(&cluster)?;
    for (what, pod) in [("controller", cluster.controller()?), ("gateway", cluster.gateway()?)] {
        for at in [GOOGLE_PROBE, "130.211.0.1"] {
            cluster.allows(&format!("Google's balancer to {what}"), &outside(at), &pod, tcp(8080));
        }
        cluster.refuses(&format!("the internet to {what}"), &outside(PUBLIC), &pod, tcp(8080));
        cluster.refuses(&format!("a neighbour to {what}"), &neighbour(), &pod, tcp(8080));
    }
    Ok(())
}

#[test]
fn values_open_and_close_what_they_say() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    let runner_pod = runner(RELEASE, "10.96.2.1");
    let denied = Cluster::new(&tools, &[EXTERNAL, &format!("networkPolicy.deniedRanges.ipv4[0]={PUBLIC}/32")])?;
    denied.refuses("runner to a denied address", &runner_pod, &outside(PUBLIC), tcp(443));
    denied.allows("runner to others", &runner_pod, &outside("151.101.1.1"), tcp(443));
    let extra =
        "networkPolicy.extraEgress[0].to[0].ipBlock.cidr=10.3.0.0/24,networkPolicy.extraEgress[0].ports[0].port=8443";
    let extra = Cluster::new(&tools, &[EXTERNAL, extra])?;
    extra.allows("runner to the private git server", &runner_pod, &outside("10.3.0.9"), tcp(8443));
    extra.refuses("runner to another port of it", &runner_pod, &outside("10.3.0.9"), tcp(22));
    extra.refuses("runner beside it", &runner_pod, &outside("10.3.1.9"), tcp(8443));
    let without = Cluster::new(&tools, &[EXTERNAL, "networkPolicy.dns.nodeLocal=false"])?;
    without.refuses("runner to NodeLocal DNS", &runner_pod, &outside(NODE_LOCAL_DNS), udp(53));
    let narrow = "networkPolicy.database.cidrs[0]=10.20.0.5/32,networkPolicy.database.ports[0]=6432";
    let narrow = Cluster::new(&tools, &[EXTERNAL, narrow])?;
    narrow.allows("gateway to the pooler", &narrow.gateway()?, &outside(DATABASE), tcp(6432));
    narrow.refuses("gateway to another database", &narrow.gateway()?, &outside("10.20.0.6"), tcp(6432));
    let off = Cluster::new(&tools, &[EXTERNAL, "networkPolicy.enabled=false"])?;
    ensure!(off.policies.0.is_empty(), "policies are rendered although they are off");
    off.allows("runner to metadata", &runner_pod, &outside(METADATA), tcp(80));
    Ok(())
}

/// The API server checks this, and a schema cannot.
#[test]
fn exceptions_lie_within_their_block_and_every_policy_selects_something_of_the_release() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    for case in tools.cases()? {
        let objects = &case.objects;
        let made: Vec<Labels> = objects
            .all
            .iter()
            .filter_map(pod)
            .map(|pod| serde_json::from_value(pod["metadata"]["labels"].clone()))
            .collect::<Result<_, _>>()?;
        let End::Pod(launched) = runner(RELEASE, "10.0.0.1") else { unreachable!("a runner is a pod") };
        for policy in objects.typed::<k8s_openapi::api::networking::v1::NetworkPolicy>("NetworkPolicy")? {
            let spec = policy.spec.context("a policy without a specification")?;
            let selector = spec.pod_selector.unwrap_or_default();
            let some = made.iter().chain([&launched.labels]).any(|labels| crate::policy::selects(&selector, labels));
            ensure!(some, "{}: {:?} selects nothing", case.name, policy.metadata.name);
            let to = spec.egress.into_iter().flatten().flat_map(|rule| rule.to.unwrap_or_default());
            let from = spec.ingress.into_iter().flatten().flat_map(|rule| rule.from.unwrap_or_default());
            for block in to.chain(from).filter_map(|peer| peer.ip_block) {
                let whole = network(&block.cidr);
                for except in block.except.iter().flatten() {
                    let part = network(except);
                    let mapped = matches!(part.network(), IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
                    ensure!(whole.contains(&part) && whole != part && !mapped, "{}: {except} in {whole}", case.name);
                }
            }
        }
        // Whatever the chart runs is under a policy, while policies are on.
        if objects.of_kind("NetworkPolicy").next().is_some() {
            let policies: Vec<k8s_openapi::api::networking::v1::NetworkPolicy> = objects.typed("NetworkPolicy")?;
            for object in objects.all.iter().filter(|object| pod(object).is_some()) {
                let labels: Labels =
                    serde_json::from_value(pod(object).context("a pod")?["metadata"]["labels"].clone())?;
                let covered = policies.iter().filter_map(|policy| policy.spec.as_ref()).any(|spec| {
                    spec.pod_selector.as_ref().is_none_or(|selector| crate::policy::selects(selector, &labels))
                });
                ensure!(covered, "{}: {} {} is under no policy", case.name, kind(object), name(object));
            }
        }
    }
    Ok(())
}

//! A rendered release among the other things of a cluster and of the world: the ends that connections are tried between.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cases;
use crate::objects::{Objects, containers, each, pod};
use crate::policy::{Blocks, End, Labels, PodEnd, Policies, Port};
use crate::tools::{NAMESPACE, Tools};

pub const METADATA: &str = "169.254.169.254";
pub const NODE_LOCAL_DNS: &str = "169.254.20.10";
/// A server of the public internet.
pub const PUBLIC: &str = "140.82.121.4";
/// Where the API server is behind its Service, as private clusters have it.
pub const API_SERVER: &str = "172.16.0.2";
pub const DATABASE: &str = "10.20.0.5";
/// One of the addresses that Google's probes come from.
pub const GOOGLE_PROBE: &str = "35.191.4.7";

/// A rendered release among the other things of a cluster.
pub struct Cluster {
    pub policies: Policies,
    objects: Objects,
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub fn outside(text: &str) -> End {
    End::Outside(address(text))
}

fn pod_end(namespace: &str, labels: Labels, at: &str, ports: BTreeMap<String, u16>) -> End {
    let namespace_labels = Labels::from([("kubernetes.io/metadata.name".to_owned(), namespace.to_owned())]);
    End::Pod(PodEnd { namespace: namespace.to_owned(), namespace_labels, labels, address: address(at), ports })
}

/// A pod as the controllers' launcher makes it.
pub fn runner(instance: &str, at: &str) -> End {
    let pairs = [("name", "cliscale"), ("component", "runner"), ("instance", instance)];
    let labels = pairs.map(|(key, value)| (format!("app.kubernetes.io/{key}"), value.to_owned()));
    pod_end(NAMESPACE, labels.into_iter().collect(), at, BTreeMap::new())
}

pub fn dns() -> End {
    pod_end("kube-system", labels(&[("k8s-app", "kube-dns")]), "10.96.1.2", BTreeMap::new())
}

pub fn ingress_controller() -> End {
    pod_end("ingress-nginx", labels(&[("app.kubernetes.io/name", "ingress-nginx")]), "10.96.1.3", BTreeMap::new())
}

pub fn prometheus() -> End {
    pod_end("monitoring", labels(&[("app.kubernetes.io/name", "prometheus")]), "10.96.1.4", BTreeMap::new())
}

/// Some other pod of the release's own namespace.
pub fn neighbour() -> End {
    pod_end(NAMESPACE, labels(&[("app", "else")]), "10.96.1.5", BTreeMap::new())
}

impl Cluster {
    pub fn new(tools: &Tools, settings: &[&str]) -> Result<Self> {
        let objects = tools.render(&cases::set(settings))?;
        Ok(Self { policies: Policies(objects.typed("NetworkPolicy")?), objects })
    }

    /// The pod of the object of that kind and name, with the ports that it names.
    pub fn pod(&self, of: &str, named: &str) -> Result<End> {
        let object = self.objects.get(of, named)?;
        let pod = pod(object).context("no pod")?;
        let labels = serde_json::from_value(pod["metadata"]["labels"].clone())?;
        let port = |port: &Value| {
            Some((port["name"].as_str()?.to_owned(), u16::try_from(port["containerPort"].as_u64()?).ok()?))
        };
        let ports = containers(pod).flat_map(|container| each(&container["ports"]).filter_map(port)).collect();
        Ok(pod_end(NAMESPACE, labels, "10.96.1.6", ports))
    }

    pub fn controller(&self) -> Result<End> {
        self.pod("Deployment", "cliscale-controller")
    }

    pub fn gateway(&self) -> Result<End> {
        self.pod("Deployment", "cliscale-gateway")
    }

    /// Judged by the meaner reading.
    #[track_caller]
    pub fn allows(&self, what: &str, from: &End, to: &End, port: Port) {
        assert!(self.policies.allow(from, to, port, Blocks::MeanOthersAlone), "{what} is refused at {port:?}");
    }

    /// Judged by the more generous reading.
    #[track_caller]
    pub fn refuses(&self, what: &str, from: &End, to: &End, port: Port) {
        assert!(!self.policies.allow(from, to, port, Blocks::MeanPodsToo), "{what} is allowed at {port:?}");
    }
}

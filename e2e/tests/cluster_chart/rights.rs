//! What the accounts of controllers and gateways may do, as the API server sees it: so much and no more.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use testkit::cluster::chart::{Installation, RELEASE};

/// What a controller needs.
const CONTROLLER: &[(&str, &[&str])] = &[
    ("jobs.batch", &["create", "delete", "get", "list", "watch"]),
    ("pods", &["get", "list", "watch", "patch"]),
    ("events", &["list", "watch"]),
];

/// What nobody of the release may do: verb and resource, and a namespace where it is not the release's own.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("get", "secrets", ""),
    ("list", "secrets", ""),
    ("get", "configmaps", ""),
    ("create", "pods", ""),
    ("delete", "pods", ""),
    ("update", "pods", ""),
    ("create", "pods/exec", ""),
    ("create", "pods/attach", ""),
    ("create", "pods/portforward", ""),
    ("create", "pods/ephemeralcontainers", ""),
    ("get", "pods/log", ""),
    ("patch", "jobs", ""),
    ("update", "jobs", ""),
    ("deletecollection", "jobs", ""),
    ("create", "events", ""),
    ("patch", "deployments", ""),
    ("create", "serviceaccounts/token", ""),
    ("create", "rolebindings", ""),
    ("bind", "roles", ""),
    ("escalate", "roles", ""),
    ("impersonate", "serviceaccounts", ""),
    ("get", "nodes", ""),
    ("get", "nodes/proxy", ""),
    ("list", "namespaces", ""),
    ("create", "jobs", "default"),
    ("list", "pods", "default"),
    ("get", "secrets", "kube-system"),
];

/// Every account of the release may do what it needs and nothing else, and so may the one that runners' pods would have.
pub async fn check(installation: &Installation) -> Result<()> {
    let accounts = [(format!("{RELEASE}-controller"), CONTROLLER), (format!("{RELEASE}-gateway"), &[])];
    for (account, wanted) in accounts.into_iter().chain([("default".to_owned(), &[] as _)]) {
        let user = format!("system:serviceaccount:{}:{account}", installation.kubernetes.namespace);
        let wanted: BTreeSet<String> = wanted
            .iter()
            .flat_map(|(resource, verbs)| verbs.iter().map(move |verb| format!("{verb} {resource}")))
            .collect();
        assert_eq!(listed(installation, &user).await?, wanted, "the rights of {user}");
        // One by one as well: a list has no other namespaces and no subresources of what is granted.
        for right in &wanted {
            let (verb, resource) = right.split_once(' ').context("a verb and a resource")?;
            assert!(may(installation, &user, verb, resource, "").await?, "{user} may not {right}");
        }
        for some in FORBIDDEN.chunks(6) {
            let asked =
                some.iter().map(|(verb, resource, namespace)| may(installation, &user, verb, resource, namespace));
            for (right, allowed) in some.iter().zip(try_join_all(asked).await?) {
                assert!(!allowed, "{user} may {right:?}");
            }
        }
    }
    Ok(())
}

async fn may(installation: &Installation, user: &str, verb: &str, resource: &str, namespace: &str) -> Result<bool> {
    // What follows a slash would be taken for a name.
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let mut args = vec!["auth", "can-i", verb, resource, "--as", user, "--subresource", subresource];
    if !namespace.is_empty() {
        args.extend(["--namespace", namespace]);
    }
    let ran = installation.kubectl(&args).await?;
    match ran.stdout.trim() {
        "yes" => Ok(true),
        said if said == "no" || said.starts_with("no -") => Ok(false),
        said => anyhow::bail!("kubectl {args:?} answered {said:?}: {}", ran.stderr),
    }
}

/// What an account may do with resources in its namespace, beyond what everybody may: asking for its own rights.
async fn listed(installation: &Installation, user: &str) -> Result<BTreeSet<String>> {
    let table = installation.kubectl(&["auth", "can-i", "--list", "--as", user, "--no-headers"]).await?.succeeded()?;
    let mut rights = BTreeSet::new();
    for line in table.lines() {
        let Some((resource, rest)) = line.split_once(char::is_whitespace) else { continue };
        let everybodys = resource.is_empty() || resource.starts_with("self");
        let Some((_, verbs)) = rest.rsplit_once('[').filter(|_| !everybodys) else { continue };
        let verbs = verbs.trim_end_matches(']').split_whitespace();
        rights.extend(verbs.map(|verb| format!("{verb} {resource}")));
    }
    Ok(rights)
}

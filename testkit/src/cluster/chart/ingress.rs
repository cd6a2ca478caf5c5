//! What an Ingress of the class `nginx` means, written as a configuration of nginx. Rules, headers and defaults are
//! those of ingress-nginx (forwarded headers are replaced, never believed); what is not understood is refused, so that
//! no test passes by something having been ignored.

use std::fmt::Write;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressBackend, IngressRule};

use crate::nginx::HEAD;

const ANNOTATIONS: &str = "nginx.ingress.kubernetes.io/";
/// Annotations of others, which mean nothing to an ingress controller.
const FOREIGN: &[&str] = &["meta.helm.sh/", "cert-manager.io/", "helm.sh/"];

/// Where the proxy listens, and its own files.
pub struct Listeners {
    pub http: SocketAddr,
    pub https: SocketAddr,
    /// Files in PEM.
    pub certificate: String,
    pub key: String,
}

/// The defaults are those of ingress-nginx.
struct Settings {
    connect_timeout: u32,
    send_timeout: u32,
    read_timeout: u32,
    buffering: bool,
    request_buffering: bool,
    body_size: String,
    ssl_redirect: bool,
    force_ssl_redirect: bool,
}

impl Settings {
    fn of(ingress: &Ingress) -> Result<Self> {
        let mut settings = Self {
            connect_timeout: 5,
            send_timeout: 60,
            read_timeout: 60,
            buffering: false,
            request_buffering: true,
            body_size: "1m".to_owned(),
            ssl_redirect: true,
            force_ssl_redirect: false,
        };
        for (name, value) in ingress.metadata.annotations.iter().flatten() {
            let Some(name) = name.strip_prefix(ANNOTATIONS) else {
                anyhow::ensure!(FOREIGN.iter().any(|foreign| name.starts_with(foreign)), "the annotation {name}");
                continue;
            };
            settings.set(name, value).with_context(|| format!("the annotation {name}: {value:?}"))?;
        }
        Ok(settings)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let switch = |value: &str, on: &str, off: &str| match value {
            value if value == on => Ok(true),
            value if value == off => Ok(false),
            _ => bail!("neither {on} nor {off}"),
        };
        match name {
            "proxy-connect-timeout" => self.connect_timeout = value.parse()?,
            "proxy-send-timeout" => self.send_timeout = value.parse()?,
            "proxy-read-timeout" => self.read_timeout = value.parse()?,
            "proxy-buffering" => self.buffering = switch(value, "on", "off")?,
            "proxy-request-buffering" => self.request_buffering = switch(value, "on", "off")?,
            "proxy-body-size" => {
                let digits = value.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G']);
                digits.parse::<u32>()?;
                self.body_size = value.to_owned();
            }
            "ssl-redirect" => self.ssl_redirect = switch(value, "true", "false")?,
            "force-ssl-redirect" => self.force_ssl_redirect = switch(value, "true", "false")?,
            // What all of this proxy does anyhow: it sends to Services.
            "service-upstream" => anyhow::ensure!(switch(value, "true", "false")?, "endpoints are not known here"),
            "proxy-http-version" => anyhow::ensure!(value == "1.1", "not spoken here"),
            "backend-protocol" => anyhow::ensure!(value == "HTTP", "not spoken here"),
            _ => bail!("it is not understood"),
        }
        Ok(())
    }
}

/// The configuration for one Ingress. `resolve`: where a Service's port is, by the Service's name and the port's name
/// or number.
pub fn configuration(
    ingress: &Ingress,
    resolve: impl Fn(&str, &str) -> Option<SocketAddr>,
    listeners: &Listeners,
) -> Result<String> {
    let spec = ingress.spec.as_ref().context("an Ingress with a spec")?;
    anyhow::ensure!(spec.default_backend.is_none(), "a default backend is not understood");
    let settings = Settings::of(ingress)?;
    let encrypted: Vec<&str> =
        spec.tls.iter().flatten().flat_map(|tls| tls.hosts.iter().flatten()).map(String::as_str).collect();
    let (mut upstreams, mut servers) = (Vec::<(String, SocketAddr)>::new(), String::new());
    for rule in spec.rules.iter().flatten() {
        let locations = locations(rule, &settings, |backend| {
            let (service, port) = service_port(backend)?;
            let name = format!("{service}-{port}");
            let address = resolve(&service, &port).with_context(|| format!("there is no Service {service}:{port}"))?;
            if upstreams.iter().all(|(known, _)| *known != name) {
                upstreams.push((name.clone(), address));
            }
            Ok(name)
        })?;
        let redirected = settings.force_ssl_redirect
            || settings.ssl_redirect && rule.host.as_deref().is_some_and(|host| encrypted.contains(&host));
        servers.push_str(&server(rule.host.as_deref(), &locations, redirected, listeners));
    }
    if spec.rules.iter().flatten().all(|rule| rule.host.is_some()) {
        servers.push_str(&server(None, "location / { return 404; }\n", false, listeners));
    }
    let mut text = String::from(HEAD);
    for (name, address) in &upstreams {
        writeln!(text, "upstream {name} {{ server {address}; keepalive 32; }}")?;
    }
    Ok(text + &servers + "}\n")
}

fn service_port(backend: &IngressBackend) -> Result<(String, String)> {
    let service = backend.service.as_ref().context("a backend that is no Service")?;
    let port = service.port.as_ref().context("a backend's port")?;
    let port = port.name.clone().or_else(|| port.number.map(|number| number.to_string()));
    Ok((service.name.clone(), port.context("a port with a name or number")?))
}

fn server(host: Option<&str>, locations: &str, redirected: bool, listeners: &Listeners) -> String {
    let Listeners { http, https, certificate, key } = listeners;
    let (default, name) = match host {
        None => (" default_server", "_"),
        Some(host) => ("", host),
    };
    let tls = format!("ssl_certificate {certificate};\nssl_certificate_key {key};\n");
    if redirected {
        let port = https.port();
        return format!(
            "server {{\nlisten {http}{default};\nserver_name {name};\nreturn 308 https://$host:{port}$request_uri;\n}}\n\
             server {{\nlisten {https} ssl{default};\nserver_name {name};\n{tls}{locations}}}\n"
        );
    }
    format!(
        "server {{\nlisten {http}{default};\nlisten {https} ssl{default};\nserver_name {name};\n{tls}{locations}}}\n"
    )
}

fn locations(
    rule: &IngressRule,
    settings: &Settings,
    mut upstream: impl FnMut(&IngressBackend) -> Result<String>,
) -> Result<String> {
    let http = rule.http.as_ref().context("a rule without paths")?;
    let mut text = String::new();
    let mut has_root = false;
    for path in &http.paths {
        let passed = pass(&upstream(&path.backend)?, settings);
        for matcher in matchers(path)? {
            has_root |= matcher == "/";
            writeln!(text, "location {matcher} {{\n{passed}}}")?;
        }
    }
    if !has_root {
        text.push_str("location / { return 404; }\n");
    }
    Ok(text)
}

/// What a path matches, in nginx's words. A prefix is one of whole segments.
fn matchers(path: &HTTPIngressPath) -> Result<Vec<String>> {
    let text = path.path.as_deref().context("a rule without a path")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    anyhow::ensure!(text.starts_with('/') && text.bytes().all(plain), "the path {text:?} is not understood");
    let folder = text.trim_end_matches('/');
    match path.path_type.as_str() {
        "Exact" => Ok(vec![format!("= {text}")]),
        "Prefix" | "ImplementationSpecific" if folder.is_empty() => Ok(vec!["/".to_owned()]),
        "Prefix" | "ImplementationSpecific" => Ok(vec![format!("= {folder}"), format!("{folder}/")]),
        other => bail!("the path type {other} is not understood"),
    }
}

fn pass(upstream: &str, settings: &Settings) -> String {
    let switch = |on: bool| if on { "on" } else { "off" };
    let Settings { connect_timeout, send_timeout, read_timeout, body_size, .. } = settings;
    let (buffering, request_buffering) = (switch(settings.buffering), switch(settings.request_buffering));
    format!(
        "proxy_pass http://{upstream};\nproxy_http_version 1.1;\nproxy_redirect off;\n\
         proxy_set_header Host $http_host;\nproxy_set_header Upgrade $http_upgrade;\n\
         proxy_set_header Connection $connection_upgrade;\nproxy_set_header X-Real-IP $remote_addr;\n\
         proxy_set_header X-Forwarded-For $remote_addr;\nproxy_set_header X-Forwarded-Host $http_host;\n\
         proxy_set_header X-Forwarded-Port $server_port;\nproxy_set_header X-Forwarded-Proto $scheme;\n\
         proxy_set_header Proxy \"\";\n\
         proxy_connect_timeout {connect_timeout}s;\nproxy_send_timeout {send_timeout}s;\n\
         proxy_read_timeout {read_timeout}s;\nproxy_buffering {buffering};\n\
         proxy_request_buffering {request_buffering};\nclient_max_body_size {body_size};\n\
         proxy_next_upstream error timeout;\nproxy_next_upstream_tries 3;\n"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ingress(annotations: Value, path: &str, path_type: &str) -> Ingress {
        let backend = json!({ "service": { "name": "web", "port": { "name": "http" } } });
        serde_json::from_value(json!({
            "metadata": { "annotations": annotations },
            "spec": { "rules": [{ "http": { "paths": [{ "path": path, "pathType": path_type, "backend": backend }] } }] },
        }))
        .unwrap()
    }

    fn configured(ingress: &Ingress) -> Result<String> {
        let listeners = Listeners {
            http: "127.0.0.1:1".parse()?,
            https: "127.0.0.1:2".parse()?,
            certificate: "cert.pem".to_owned(),
            key: "key.pem".to_owned(),
        };
        let address = "10.0.0.1:80".parse()?;
        configuration(ingress, |service, port| (service == "web" && port == "http").then_some(address), &listeners)
    }

    #[test]
    fn a_prefix_is_one_of_whole_segments_and_all_else_is_not_found() {
        let text = configured(&ingress(json!({}), "/api", "Prefix")).unwrap();
        for wanted in ["location = /api {", "location /api/ {", "location / { return 404; }", "server 10.0.0.1:80;"] {
            assert!(text.contains(wanted), "no {wanted} in {text}");
        }
        assert!(text.contains("proxy_read_timeout 60s;") && text.contains("X-Forwarded-For $remote_addr;"), "{text}");
    }

    #[test]
    fn annotations_are_obeyed_and_those_not_understood_are_refused() {
        let timeout = json!({ "nginx.ingress.kubernetes.io/proxy-read-timeout": "3600" });
        assert!(configured(&ingress(timeout, "/", "Prefix")).unwrap().contains("proxy_read_timeout 3600s;"));
        for (name, value) in [
            ("nginx.ingress.kubernetes.io/rewrite-target", "/"),
            ("nginx.ingress.kubernetes.io/proxy-buffering", "maybe"),
            ("nginx.ingress.kubernetes.io/proxy-body-size", "1m; return 200"),
            ("other.example/setting", "1"),
        ] {
            assert!(configured(&ingress(json!({ name: value }), "/", "Prefix")).is_err(), "{name}: {value}");
        }
        for (path, path_type) in [("/a b", "Prefix"), ("/;", "Exact"), ("/(x)", "Prefix"), ("/", "Regex")] {
            assert!(configured(&ingress(json!({}), path, path_type)).is_err(), "{path} {path_type}");
        }
    }
}

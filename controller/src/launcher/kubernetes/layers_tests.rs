//! The Job as it goes to the API server, and what of a template is taken.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::{KubernetesConfig, PodSettings, PodTemplate, Resources, job};
use super::*;

fn config(template: &str) -> KubernetesConfig {
    KubernetesConfig {
        namespace: None,
        instance: "blue".to_owned(),
        templates: KubernetesConfig::templates_of(
            PodSettings {
                image: "registry.example/runner:1".to_owned(),
                installer_image: None,
                folders: Folders::default(),
                resources: Resources { cpu: Some("500m".parse().unwrap()), ..Resources::default() },
                linger: Duration::from_secs(120),
                heartbeat: Duration::from_secs(60),
                max_idle: Duration::from_secs(3600),
                max_ttl: Duration::from_secs(86_400),
            },
            PodTemplate::parse(template).unwrap(),
        ),
        ttl_after_finished: Duration::from_secs(600),
        unschedulable_after: Duration::from_secs(60),
        list_every: Duration::from_secs(30),
        request_timeout: Duration::from_secs(10),
    }
}

fn launch() -> Launch {
    Launch {
        runner: "0197a2f0-0000-7000-8000-000000000001".parse().unwrap(),
        boot_token: Secret::new("the-boot-token"),
        internal_url: Url::parse("http://controller:8081").unwrap(),
        template: "default".to_owned(),
        standby: false,
    }
}

fn job_of(template: &str) -> Value {
    let config = config(template);
    let blueprint = blueprint(&config).unwrap();
    serde_json::to_value(job::job(&config, &blueprint, &launch())).unwrap()
}

fn blueprint(config: &KubernetesConfig) -> Result<Blueprint, TemplateError> {
    Blueprint::new(&config.templates["default"], &config.instance, "default")
}

fn refusal(template: &str) -> String {
    refusal_of(&config(template))
}

fn refusal_of(config: &KubernetesConfig) -> String {
    blueprint(config).err().expect("a refusal").to_string()
}

#[test]
fn labels_of_a_pool_are_none_of_ours() {
    for key in ["cliscale.dev/standby", "cliscale.dev/session", "app.kubernetes.io/instance"] {
        let mut config = config("");
        default_of(&mut config).labels.insert(key.to_owned(), "other".to_owned());
        assert_eq!(refusal_of(&config), format!("labels.{key}: the launcher sets this"));
    }
}

/// With an image that lacks the runner program.
fn any_image(template: &str) -> KubernetesConfig {
    let mut config = config(template);
    default_of(&mut config).pod.installer_image = Some("registry.example/installer:1".to_owned());
    config
}

fn default_of(config: &mut KubernetesConfig) -> &mut RunnerTemplate {
    config.templates.get_mut("default").unwrap()
}

#[test]
fn the_job_is_blank_hardened_and_bounded() {
    let labels = json!({
        "app.kubernetes.io/name": "cliscale",
        "app.kubernetes.io/component": "runner",
        "app.kubernetes.io/instance": "blue",
        "cliscale.dev/runner": "0197a2f0-0000-7000-8000-000000000001",
        "cliscale.dev/template": "default",
    });
    let amounts = json!({"cpu": "500m", "memory": "1Gi", "ephemeral-storage": "4Gi"});
    let patience =
        |taint: &str| json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 90_420});
    let container = json!({
        "name": "runner",
        "image": "registry.example/runner:1",
        "imagePullPolicy": "IfNotPresent",
        "env": [
            {"name": "CLISCALE_ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "CLISCALE_CONTAINER", "value": "true"},
            {"name": "CLISCALE_LISTEN", "value": "0.0.0.0:7681"},
            {"name": "CLISCALE_WORKSPACE", "value": "/workspace/code"},
            {"name": "CLISCALE_HOME", "value": "/workspace/home"},
            {"name": "CLISCALE_SPILL_DIR", "value": "/var/spool/cliscale"},
            {"name": "CLISCALE_LINGER_SECS", "value": "120"},
            {"name": "CLISCALE_HEARTBEAT_SECS", "value": "60"},
            {"name": "CLISCALE_MAX_IDLE_SECS", "value": "3600"},
            {"name": "CLISCALE_LOG_FORMAT", "value": "json"},
            {"name": "CLISCALE_CONTROLLER_URL", "value": "http://controller:8081/"},
            {"name": "CLISCALE_RUNNER_ID", "value": "0197a2f0-0000-7000-8000-000000000001"},
            {"name": "CLISCALE_BOOT_TOKEN", "value": "the-boot-token"},
        ],
        "ports": [{"containerPort": 7681, "name": "terminal"}],
        "resources": {"requests": amounts, "limits": amounts},
        "securityContext": {
            "privileged": false,
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
        },
        "volumeMounts": [
            {"name": "workspace", "mountPath": "/workspace"},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "spill", "mountPath": "/var/spool/cliscale"},
        ],
        "workingDir": "/workspace",
    });
    let pod = json!({
        "metadata": {
            "labels": labels,
            "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
        },
        "spec": {
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "hostIPC": false,
            "hostNetwork": false,
            "hostPID": false,
            "shareProcessNamespace": false,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 10,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 10_001,
                "runAsGroup": 10_001,
                "fsGroup": 10_001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "tolerations": [patience("node.kubernetes.io/not-ready"), patience("node.kubernetes.io/unreachable")],
            "containers": [container],
            "volumes": [
                {"name": "workspace", "emptyDir": {"sizeLimit": "4Gi"}},
                {"name": "tmp", "emptyDir": {"sizeLimit": "4Gi"}},
                {"name": "spill", "emptyDir": {"sizeLimit": "4Gi"}},
            ],
        },
    });
    let expected = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "cliscale-runner-0197a2f0-0000-7000-8000-000000000001", "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": 90_420,
            "ttlSecondsAfterFinished": 600,
            "template": pod,
        },
    });
    assert_eq!(job_of(""), expected);
}

#[test]
fn an_image_with_the_folders_in_it_needs_no_volume_but_takes_those_of_the_template() {
    let spec_of = |template: &str| {
        let mut config = config(template);
        config.templates.get_mut("default").unwrap().pod.folders = Folders::Image;
        serde_json::to_value(blueprint(&config).unwrap().personal(&launch()).spec.unwrap()).unwrap()
    };
    let spec = spec_of("");
    let runner = &spec["containers"][0];
    assert_eq!((&spec["volumes"], &runner["volumeMounts"]), (&json!(null), &json!([])));
    assert_eq!(runner["securityContext"]["readOnlyRootFilesystem"], false);
    assert_eq!(runner["securityContext"]["allowPrivilegeEscalation"], false);
    let spec = spec_of("spec: {volumes: [{name: workspace, emptyDir: {medium: Memory}}]}");
    assert_eq!(spec["volumes"], json!([{"name": "workspace", "emptyDir": {"medium": "Memory"}}]));
    assert_eq!(spec["containers"][0]["volumeMounts"], json!([{"name": "workspace", "mountPath": "/workspace"}]));
}

#[test]
fn the_program_is_brought_into_an_image_that_lacks_it() {
    let config = any_image(
        r#"
spec:
  initContainers: [{name: proxy, image: proxy:1, restartPolicy: Always}]
  containers:
    - name: runner
      resources: {limits: {memory: 2Gi, nvidia.com/gpu: 1}, requests: {memory: 512Mi}}
"#,
    );
    let spec = blueprint(&config).unwrap().personal(&launch()).spec.unwrap();
    let spec = serde_json::to_value(spec).unwrap();
    let runner = &spec["containers"][0];
    assert_eq!(runner["command"], json!(["/cliscale/cliscale-runner"]));
    let mounts = json!([
        {"name": "workspace", "mountPath": "/workspace"},
        {"name": "tmp", "mountPath": "/tmp"},
        {"name": "spill", "mountPath": "/var/spool/cliscale"},
        {"name": "cliscale", "mountPath": "/cliscale", "readOnly": true},
        {"name": "cliscale", "mountPath": "/etc/passwd", "subPath": "passwd", "readOnly": true},
        {"name": "cliscale", "mountPath": "/etc/group", "subPath": "group", "readOnly": true},
    ]);
    assert_eq!(runner["volumeMounts"], mounts);
    assert_eq!(spec["volumes"][3], json!({"name": "cliscale", "emptyDir": {"sizeLimit": "4Gi"}}));
    let installer = json!({
        "name": "cliscale-installer",
        "image": "registry.example/installer:1",
        "imagePullPolicy": "IfNotPresent",
        "args": ["--install-to", "/cliscale"],
        // The runner's, so that the pod needs no more; the device is not waited for twice.
        "resources": {
            "limits": {"cpu": "500m", "memory": "2Gi", "ephemeral-storage": "4Gi"},
            "requests": {"cpu": "500m", "memory": "512Mi", "ephemeral-storage": "4Gi"},
        },
        "securityContext": runner["securityContext"],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "cliscale", "mountPath": "/cliscale"}],
    });
    assert_eq!(spec["initContainers"][0]["name"], "proxy");
    assert_eq!(spec["initContainers"][1], installer);
}

#[test]
fn a_template_may_say_what_the_installer_needs_but_not_what_it_is() {
    let installer = "{name: cliscale-installer, imagePullPolicy: Always, resources: {limits: {cpu: 100m}}}";
    let config = any_image(&format!("spec: {{initContainers: [{installer}]}}"));
    let spec = blueprint(&config).unwrap().personal(&launch()).spec.unwrap();
    let spec = serde_json::to_value(spec).unwrap();
    assert_eq!(spec["initContainers"][0]["imagePullPolicy"], "Always");
    assert_eq!(spec["initContainers"][0]["resources"], json!({"limits": {"cpu": "100m"}}));
    for (template, said) in [
        (
            "spec: {initContainers: [{name: cliscale-installer, image: other}]}",
            "spec.initContainers[0].image: the launcher sets this, to \"registry.example/installer:1\"",
        ),
        (
            "spec: {containers: [{name: runner, command: [sleep]}]}",
            "spec.containers[0].command[0]: the launcher does not let this be set",
        ),
        (
            "spec: {containers: [{name: runner, volumeMounts: [{name: x, mountPath: /etc/passwd}]}]}",
            "spec.containers[0].volumeMounts[0].name: the launcher sets this, to \"cliscale\"",
        ),
        (
            "spec: {volumes: [{name: cliscale, emptyDir: {}}]}",
            "spec.volumes[cliscale]: the runner program is brought in a volume of this name",
        ),
    ] {
        assert_eq!(refusal_of(&any_image(template)), said, "{template}");
    }
}

#[test]
fn a_template_adds_what_the_cluster_needs() {
    let job = job_of(
        r#"
metadata:
  labels: {team: blue}
  annotations: {cluster-autoscaler.kubernetes.io/safe-to-evict: "true", seen: "yes"}
spec:
  nodeSelector: {pool: sandboxes}
  runtimeClassName: gvisor
  priorityClassName: low
  imagePullSecrets: [{name: registry}]
  tolerations: [{key: sandbox, operator: Exists}, {key: node.kubernetes.io/unreachable, operator: Exists}]
  volumes:
    - {name: cache, persistentVolumeClaim: {claimName: cache, readOnly: true}}
    - {name: workspace, emptyDir: {medium: Memory}}
  initContainers: [{name: proxy, image: proxy:1, restartPolicy: Always}]
  containers:
    - name: runner
      env: [{name: HTTPS_PROXY, value: "http://proxy:3128"}]
      volumeMounts: [{name: cache, mountPath: /cache}, {name: cache, mountPath: /more}]
      resources: {limits: {memory: 2Gi, nvidia.com/gpu: 1}, requests: {memory: 512Mi}}
"#,
    );
    let template = &job["spec"]["template"];
    assert_eq!(template["metadata"]["labels"]["team"], "blue");
    assert_eq!(template["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"], "true");
    let spec = &template["spec"];
    assert_eq!(spec["runtimeClassName"], "gvisor");
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "registry"}]));
    let taints: Vec<_> =
        spec["tolerations"].as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap()).collect();
    assert_eq!(taints, ["sandbox", "node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"]);
    assert_eq!(spec["volumes"][1], json!({"name": "workspace", "emptyDir": {"medium": "Memory"}}));
    assert_eq!(spec["volumes"][2]["name"], "tmp");
    assert_eq!(spec["initContainers"][0]["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
    let runner = &spec["containers"][0];
    assert_eq!(runner["env"][0]["name"], "HTTPS_PROXY");
    assert_eq!(runner["volumeMounts"].as_array().unwrap().len(), 5);
    let limits = json!({"cpu": "500m", "memory": "2Gi", "ephemeral-storage": "4Gi", "nvidia.com/gpu": "1"});
    assert_eq!(runner["resources"]["limits"], limits);
    assert_eq!(runner["resources"]["requests"]["memory"], "512Mi");
}

#[test]
fn what_the_launcher_sets_is_not_overruled_in_silence() {
    for (template, said) in [
        ("spec: {restartPolicy: Always}", "spec.restartPolicy: the launcher sets this, to \"Never\""),
        ("spec: {securityContext: {runAsUser: 0}}", "spec.securityContext.runAsUser: the launcher sets this, to 10001"),
        ("spec: {hostNetwork: true}", "spec.hostNetwork: the launcher sets this, to false"),
        (
            "metadata: {labels: {app.kubernetes.io/instance: other}}",
            "metadata.labels.app.kubernetes.io/instance: the launcher sets this, to \"blue\"",
        ),
        (
            "spec: {containers: [{name: runner, image: other}]}",
            "spec.containers[0].image: the launcher sets this, to \"registry.example/runner:1\"",
        ),
        (
            "spec: {containers: [{name: runner, resources: {limits: {cpu: 2}}}]}",
            "spec.containers[0].resources.limits.cpu: the launcher sets this, to \"500m\"",
        ),
        (
            "spec: {containers: [{name: runner, env: [{name: CLISCALE_HOME, value: /root}]}]}",
            "spec.containers[0].env[0].value: the launcher sets this, to \"/workspace/home\"",
        ),
        (
            "spec: {containers: [{name: runner, securityContext: {readOnlyRootFilesystem: false}}]}",
            "spec.containers[0].securityContext.readOnlyRootFilesystem: the launcher sets this, to true",
        ),
        (
            "spec: {containers: [{name: runner, volumeMounts: [{name: cache, mountPath: /workspace}]}]}",
            "spec.containers[0].volumeMounts[0].name: the launcher sets this, to \"workspace\"",
        ),
    ] {
        assert_eq!(refusal(template), said, "{template}");
    }
}

#[test]
fn a_template_cannot_loosen_the_sandbox() {
    for (template, field) in [
        ("spec: {containers: [{name: logger, image: l}]}", "spec.containers[0].name"),
        (
            "spec: {containers: [{name: runner, securityContext: {capabilities: {add: [SYS_ADMIN]}}}]}",
            "spec.containers[runner].securityContext.capabilities.add",
        ),
        (
            "spec: {containers: [{name: runner, securityContext: {seccompProfile: {type: Unconfined}}}]}",
            "spec.containers[runner].securityContext.seccompProfile",
        ),
        (
            "spec: {initContainers: [{name: s, image: s, securityContext: {privileged: true}}]}",
            "spec.initContainers[s].securityContext.privileged",
        ),
        (
            "spec: {volumes: [{name: t, projected: {sources: [{serviceAccountToken: {path: token}}]}}]}",
            "spec.volumes[t].projected.sources",
        ),
    ] {
        let said = refusal(template);
        assert!(said.starts_with(&format!("{field}: ")), "{template}: {said}");
    }
}

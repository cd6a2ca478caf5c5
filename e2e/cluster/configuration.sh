# The cluster's certificates and configuration files, written anew by each `up` from nothing.

write_configuration() {
  mkdir -p "$STATE"/{pki,log,cni,volume-plugins}
  write_certificates
  write_containerd
  write_kubelet
  write_others
}

# certificate NAME SUBJECT ALTERNATIVE_NAMES: a key and its certificate from the cluster's authority
certificate() {
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$3")
}

# kubeconfig NAME CERTIFICATE: complete in itself, so that it can be copied
kubeconfig() {
  cat >"$STATE/$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: cliscale
contexts: [{name: cliscale, context: {cluster: cliscale, user: $1}}]
clusters:
  - name: cliscale
    cluster:
      server: https://$NODE_IP:6443
      certificate-authority-data: $(base64 -w 0 "$STATE/pki/ca.crt")
users:
  - name: $1
    user:
      client-certificate-data: $(base64 -w 0 "$STATE/pki/$2.crt")
      client-key-data: $(base64 -w 0 "$STATE/pki/$2.key")
YAML
}

write_certificates() (
  umask 077
  cd "$STATE/pki"
  {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 30 \
      -subj /CN=cliscale-cluster
    certificate apiserver /CN=kube-apiserver "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:$NODE_IP,IP:${SERVICES%.*}.1"
    certificate admin /O=system:masters/CN=admin DNS:admin
    certificate kubelet "/O=system:nodes/CN=system:node:$NODE" "DNS:$NODE,IP:$NODE_IP"
    certificate controllers /CN=system:kube-controller-manager DNS:controllers
    certificate scheduler /CN=system:kube-scheduler DNS:scheduler
    certificate proxy /CN=system:kube-proxy DNS:proxy
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out accounts.key
    openssl pkey -in accounts.key -pubout -out accounts.pub
  } 2>"$STATE/log/openssl.log"
  local name
  for name in admin kubelet controllers scheduler proxy; do
    kubeconfig "$name" "$name"
  done
)

write_containerd() {
  cat >"$STATE/cni/10-pods.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "cliscale", "plugins": [
  {"type": "bridge", "bridge": "$PODS_BRIDGE", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$STATE/addresses", "ranges": [[{"subnet": "$PODS"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}}]}
JSON
  # restrict_oom_score_adj: inside a container or a small virtual machine root may not lower its own score.
  cat >"$STATE/containerd.toml" <<TOML
version = 2
root = "$STATE/containerd"
state = "$RUN/containerd"
disabled_plugins = ["io.containerd.internal.v1.tracing"]
[grpc]
  address = "$SOCKET"
[plugins."io.containerd.internal.v1.opt"]
  path = "$STATE/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:e2e"
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  stats_collect_period = 2
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$CNI_PLUGINS"
    conf_dir = "$STATE/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "$RUN/runc"
TOML
}

write_kubelet() {
  # volumeStatsAggPeriod: a pod over its ephemeral storage is seen at the next of these, then at the next of the eviction
  # manager's rounds, ten seconds apart. imageGCHighThresholdPercent 100: images of the tests are never collected.
  cat >"$STATE/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $NODE_IP
healthzPort: 0
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $STATE/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $STATE/pki/kubelet.crt
tlsPrivateKeyFile: $STATE/pki/kubelet.key
containerRuntimeEndpoint: unix://$SOCKET
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: [none]
localStorageCapacityIsolation: true
volumeStatsAggPeriod: 3s
evictionHard: {memory.available: 100Mi}
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 2s
nodeLeaseDurationSeconds: 8
clusterDNS: [$NODE_IP]
clusterDomain: cluster.local
maxPods: 250
serializeImagePulls: false
podLogsDir: $STATE/pods
volumePluginDir: $STATE/volume-plugins
YAML
}

write_others() {
  # No connection tracking settings and no route_localnet: those belong to the machine.
  cat >"$STATE/kube-proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $STATE/proxy.kubeconfig}
hostnameOverride: $NODE
bindAddress: $NODE_IP
metricsBindAddress: $NODE_IP:10249
healthzBindAddress: $NODE_IP:10256
clusterCIDR: $PODS
mode: iptables
iptables: {localhostNodePorts: false}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
YAML
  cat >"$STATE/scheduler.yaml" <<YAML
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {kubeconfig: $STATE/scheduler.kubeconfig, qps: 200, burst: 400}
leaderElection: {leaderElect: false}
YAML
  # Names outside of the cluster go where the machine's own go, if it has anywhere.
  cat >"$STATE/Corefile" <<COREFILE
. {
  bind $NODE_IP
  errors
  kubernetes cluster.local {
    kubeconfig $STATE/admin.kubeconfig
  }
$(if grep -qs '^nameserver' /etc/resolv.conf; then echo '  forward . /etc/resolv.conf'; fi)
}
COREFILE
}

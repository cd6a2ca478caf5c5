# How each program of the cluster is started. Everything that listens does so on the node's own address or on ports of
# its own, so that nothing collides with what else the machine serves.

# In the order in which they are started.
SERVERS=(containerd etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy coredns)
ETCD=http://127.0.0.1:24379
ETCD_PEER=http://127.0.0.1:24380

# start_server NAME: starts one of them
start_server() {
  case $1 in
    containerd) spawn containerd containerd -c "$STATE/containerd.toml" ;;
    etcd)
      spawn etcd "$BIN/etcd" --data-dir "$STATE/etcd" --unsafe-no-fsync --log-level warn \
        --listen-client-urls "$ETCD" --advertise-client-urls "$ETCD" --listen-peer-urls "$ETCD_PEER" \
        --initial-advertise-peer-urls "$ETCD_PEER" --initial-cluster "default=$ETCD_PEER"
      ;;
    kube-apiserver) start_apiserver ;;
    kube-controller-manager)
      # Two seconds between a node's signs of life (kubelet.yaml), so eight without one mean something.
      spawn kube-controller-manager "$BIN/kube-controller-manager" --kubeconfig "$STATE/controllers.kubeconfig" \
        --root-ca-file "$STATE/pki/ca.crt" --service-account-private-key-file "$STATE/pki/accounts.key" \
        --use-service-account-credentials --leader-elect=false --secure-port 0 \
        --node-monitor-period 1s --node-monitor-grace-period 8s --kube-api-qps 200 --kube-api-burst 400 \
        --flex-volume-plugin-dir "$STATE/volume-plugins"
      ;;
    kube-scheduler)
      spawn kube-scheduler "$BIN/kube-scheduler" --config "$STATE/scheduler.yaml" --secure-port 0
      ;;
    kubelet)
      spawn kubelet "$BIN/kubelet" --config "$STATE/kubelet.yaml" --kubeconfig "$STATE/kubelet.kubeconfig" \
        --hostname-override "$NODE" --node-ip "$NODE_IP" --root-dir "$STATE/kubelet"
      ;;
    kube-proxy) spawn kube-proxy "$BIN/kube-proxy" --config "$STATE/kube-proxy.yaml" ;;
    coredns) spawn coredns "$BIN/coredns" -conf "$STATE/Corefile" ;;
    *)
      echo "cluster: there is no $1; there are ${SERVERS[*]}" >&2
      return 2
      ;;
  esac
}

start_apiserver() {
  local pki=$STATE/pki
  spawn kube-apiserver "$BIN/kube-apiserver" --etcd-servers "$ETCD" \
    --bind-address "$NODE_IP" --advertise-address "$NODE_IP" --secure-port 6443 \
    --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" --client-ca-file "$pki/ca.crt" \
    --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$pki/accounts.pub" \
    --service-account-signing-key-file "$pki/accounts.key" --service-cluster-ip-range "$SERVICES" \
    --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged \
    --kubelet-certificate-authority "$pki/ca.crt" --kubelet-preferred-address-types InternalIP \
    --kubelet-client-certificate "$pki/admin.crt" --kubelet-client-key "$pki/admin.key"
}

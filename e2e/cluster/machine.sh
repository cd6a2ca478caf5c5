# What the cluster changes on the machine, and its undoing: addresses, packet filter, kernel settings, folders outside
# of its own, control groups and mounts. What was there before is recorded first and is what `down` returns to.

PODS_BRIDGE=cliscale-pods
NODE_BRIDGE=cliscale-node
# Kernel settings that kubelet, kube-proxy or the bridge plugin write to.
SETTINGS=(net/ipv4/ip_forward net/ipv4/conf/all/route_localnet net/bridge/bridge-nf-call-iptables
  vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops
  kernel/keys/root_maxkeys kernel/keys/root_maxbytes)
# Folders that kubelet, containerd and the network plugins make wherever their own are configured to be.
FOLDERS=(/var/lib/kubelet /var/lib/cni /var/log/pods /var/log/containers /run/containerd /run/netns)

# refuse_strangers: two Kubernetes nodes on one machine would share packet filter chains and control groups
refuse_strangers() {
  if iptables-save 2>/dev/null | grep -q '^:KUBE-' || compgen -G '/sys/fs/cgroup/*/kubepods*' >/dev/null ||
    [ -e /sys/fs/cgroup/kubepods ]; then
    echo "cluster: another Kubernetes node seems to be on this machine (its chains or control groups are); not starting" >&2
    return 1
  fi
}

record_machine() {
  local name
  for name in "${SETTINGS[@]}"; do
    [ ! -r "/proc/sys/$name" ] || echo "$name $(<"/proc/sys/$name")"
  done >"$STATE/settings"
  for name in "${FOLDERS[@]}"; do
    [ -e "$name" ] || echo "$name"
  done >"$STATE/folders"
}

prepare_machine() {
  modprobe -q -a overlay br_netfilter 2>/dev/null || true
  record_machine
  # The address at which the node, and with it the whole machine, is found. A bridge without ports carries it, since
  # not every kernel has dummy devices.
  ip link add "$NODE_BRIDGE" type bridge
  ip address add "$NODE_IP/32" dev "$NODE_BRIDGE"
  ip link set "$NODE_BRIDGE" up
  # What is sent to a service that nobody answers for ends here instead of on the machine's own network.
  ip route add "$SERVICES" dev "$NODE_BRIDGE"
  echo 1 >/proc/sys/net/ipv4/ip_forward
  # Without it packets between pods on the bridge would pass by the packet filter.
  echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null || true
  iptables-restore --noflush <<RULES
*raw
:CLISCALE-CUT - [0:0]
-I PREROUTING -j CLISCALE-CUT
-I OUTPUT -j CLISCALE-CUT
COMMIT
*filter
:CLISCALE-PODS - [0:0]
-A CLISCALE-PODS -s $PODS -j ACCEPT
-A CLISCALE-PODS -d $PODS -j ACCEPT
-I FORWARD -j CLISCALE-PODS
COMMIT
*nat
:CLISCALE-OUT - [0:0]
-A CLISCALE-OUT -s $PODS ! -d $PODS -j MASQUERADE
-I POSTROUTING -j CLISCALE-OUT
COMMIT
RULES
}

# cut_off IP: that pod neither hears nor is heard any more, not even on connections that are open. The table before
# connection tracking is the only one where no earlier rule can let a packet through.
cut_off() {
  heal "$1"
  iptables -t raw -A CLISCALE-CUT -s "$1" -j DROP
  iptables -t raw -A CLISCALE-CUT -d "$1" -j DROP
}

# heal [IP]: takes back the cut of that pod, or all of them
heal() {
  if [ -z "${1:-}" ]; then
    iptables -t raw -F CLISCALE-CUT
    return
  fi
  while iptables -t raw -D CLISCALE-CUT -s "$1" -j DROP 2>/dev/null; do :; done
  while iptables -t raw -D CLISCALE-CUT -d "$1" -j DROP 2>/dev/null; do :; done
}

# forget_chains SAVE RESTORE: takes out our chains, kubelet's and kube-proxy's, and all that leads to them, in one
# transaction per table that touches no other rule
forget_chains() {
  "$1" 2>/dev/null | awk -v ours='^(KUBE|CLISCALE)-' '
    /^\*/ { print; split("", chains) }
    /^:/ { chain = substr($1, 2); if (chain ~ ours) { print ":" chain " - [0:0]"; chains[chain] } }
    /^-A/ && $2 !~ ours { for (i = 3; i < NF; i++) if (($i == "-j" || $i == "-g") && $(i + 1) ~ ours) { sub(/^-A/, "-D"); print; break } }
    /^COMMIT/ { for (chain in chains) print "-X " chain; print }' | "$2" --noflush
}

# end_pods: kills whatever runs in pods, then the shims that belong to our containerd
end_pods() {
  local groups pid sockets
  # The shims' sockets, which containerd keeps outside of its folder for the length of their names.
  sockets=$(sed 's,^unix://,,' "$RUN"/containerd/io.containerd.runtime.v2.task/*/*/address 2>/dev/null || true)
  for _ in {1..100}; do
    groups=$(find /sys/fs/cgroup -path '*/kubepods/*' -name cgroup.procs -exec cat {} + 2>/dev/null | sort -un)
    [ -n "$groups" ] || break
    # shellcheck disable=SC2086 # one word per id
    kill -KILL $groups 2>/dev/null || true
    sleep 0.05
  done
  for pid in /proc/[0-9]*; do
    if { tr "\0" " " <"$pid/cmdline"; } 2>/dev/null | grep -q "^[^ ]*containerd-shim-runc-v2 .*-address $SOCKET "; then
      kill -KILL "${pid#/proc/}" 2>/dev/null || true
    fi
  done
  [ -z "$sockets" ] || xargs rm -f <<<"$sockets"
}

unmount_all() {
  awk -v state="$STATE/" -v run="$RUN/" 'index($2, state) == 1 || index($2, run) == 1 { print $2 }' /proc/mounts |
    sort -r | xargs -r umount --lazy
}

# remove_state: many at a time, since a disk that discards what is deleted takes its time over each file
remove_state() {
  find "$STATE" -xdev -type f -print0 2>/dev/null | xargs -0 -r -P 16 -n 100 rm -f
  rm -rf "$STATE" "$RUN"
}

restore_machine() {
  local name value
  unmount_all
  find /sys/fs/cgroup -depth -type d -path '*/kubepods*' -exec rmdir {} + 2>/dev/null || true
  for name in "$PODS_BRIDGE" "$NODE_BRIDGE"; do
    ip link delete "$name" 2>/dev/null || true
  done
  forget_chains iptables-save iptables-restore
  forget_chains ip6tables-save ip6tables-restore 2>/dev/null || true
  find /var/log/containers -lname "$STATE/*" -delete 2>/dev/null || true
  find /var/lib/cni -name 'cliscale-*' -delete 2>/dev/null || true
  while read -r name; do
    case $name in
      # What the plugins and kubelet note down about pods that are no more.
      /var/lib/*) rm -rf "$name" ;;
      *) find "$name" -depth -type d -empty -delete ;;
    esac
  done 2>/dev/null <"$STATE/folders" || true
  while read -r name value; do
    [ "$(<"/proc/sys/$name")" = "$value" ] || echo "$value" >"/proc/sys/$name"
  done 2>/dev/null <"$STATE/settings" || true
}

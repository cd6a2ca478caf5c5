{{/* Rules that more than one network policy has. Each is a list, as YAML. */}}

{{/* Egress to the cluster's DNS; NodeLocal DNSCache answers from the node's network, where a policy knows addresses alone. */}}
{{- define "cliscale.egressDns" -}}
{{- $dns := .Values.networkPolicy.dns -}}
- to:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: {{ $dns.namespace }}}
      podSelector:
        matchLabels: {{- toYaml $dns.podLabels | nindent 10 }}
{{- if $dns.nodeLocal }}
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: {{ $dns.namespace }}}
      podSelector:
        matchLabels: {k8s-app: node-local-dns}
{{- range $dns.nodeLocalRanges }}
    - ipBlock: {cidr: {{ . }}}
{{- end }}
{{- end }}
  ports:
    - {protocol: UDP, port: {{ $dns.port }}}
    - {protocol: TCP, port: {{ $dns.port }}}
{{- end }}

{{/* Egress to the database: the bundled one's pod, else the addresses and ports that values name. */}}
{{- define "cliscale.egressDatabase" -}}
{{- $database := .Values.networkPolicy.database -}}
{{- if .Values.postgresql.enabled -}}
- to:
    - podSelector:
        matchLabels: {{- include "cliscale.selector" (list . "postgresql") | nindent 10 }}
  ports:
    - {protocol: TCP, port: postgresql}
{{- else -}}
{{- $port := regexFind ":[0-9]+(/|$)" (regexReplaceAll "^[a-z]+://([^@/]*@)?" (default "" .Values.database.url) "") | trimPrefix ":" | trimSuffix "/" -}}
- to:
{{- range $database.cidrs }}
    - ipBlock: {cidr: {{ . | quote }}}
{{- end }}
  ports:
{{- range default (list (default "5432" $port)) $database.ports }}
    - {protocol: TCP, port: {{ . }}}
{{- end }}
{{- end -}}
{{- end }}

{{/* Egress to runners' terminals. */}}
{{- define "cliscale.egressRunners" -}}
- to:
    - podSelector:
        matchLabels: {{- include "cliscale.selector" (list . "runner") | nindent 10 }}
  ports:
    - {protocol: TCP, port: 7681}
{{- end }}

{{/* Ingress to the public port: from balancers' addresses, and from ingress controllers' pods. */}}
{{- define "cliscale.ingressPublic" -}}
{{- $policy := .Values.networkPolicy -}}
{{- $gce := eq .Values.ingress.preset "gce" -}}
{{- /* Google's proxies and health probes come from these (cloud.google.com/load-balancing/docs/firewall-rules). An
        internal balancer's (gce-internal) come from the VPC's proxy-only subnet, which only its operator knows. */ -}}
{{- $google := ternary (list "130.211.0.0/22" "35.191.0.0/16" "2600:2d00:1:b029::/64" "2600:2d00:1:1::/64") list $gce -}}
{{- $anyPod := ternary list (list (dict "namespaceSelector" dict)) $gce -}}
- from:
{{- range default $google $policy.balancerRanges }}
    - ipBlock: {cidr: {{ . | quote }}}
{{- end }}
{{- with default $anyPod $policy.ingressFrom }}
    {{- toYaml . | nindent 4 }}
{{- end }}
  ports:
    - {protocol: TCP, port: http}
{{- end }}

{{/* Ingress to the admin port: from monitoring. */}}
{{- define "cliscale.ingressAdmin" -}}
{{- with .Values.networkPolicy.monitoringFrom }}
- from: {{- toYaml . | nindent 4 }}
  ports:
    - {protocol: TCP, port: admin}
{{- end }}
{{- end }}

{{/* Ingress from components of the release; arguments: root context, port, components. */}}
{{- define "cliscale.ingressFrom" -}}
{{- $root := index . 0 -}}
- from:
{{- range slice . 2 }}
    - podSelector:
        matchLabels: {{- include "cliscale.selector" (list $root .) | nindent 10 }}
{{- end }}
  ports:
    - {protocol: TCP, port: {{ index . 1 }}}
{{- end }}

{{/* The beginning of a policy; arguments: root context, component. */}}
{{- define "cliscale.policyHead" -}}
{{- $root := index . 0 -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "cliscale.fullname" $root }}-{{ index . 1 }}
  namespace: {{ $root.Release.Namespace }}
  labels: {{- include "cliscale.labels" . | nindent 4 }}
{{- if eq (index . 1) "runner" }}
  annotations:
    # Controllers make these pods.
    kube-score/ignore: networkpolicy-targets-pod
{{- end }}
spec:
  podSelector:
    matchLabels: {{- include "cliscale.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
{{- end }}

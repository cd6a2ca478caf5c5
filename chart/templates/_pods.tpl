{{/* What all pods of the chart have in common: the hardening, the probes, and where they run. */}}

{{/* Nobody is root, whatever the image says; 10001 is the user that the images have. */}}
{{- define "cliscale.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "cliscale.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* On the admin port, which no balancer and no runner reaches. A start waits for the database, so it may take as long
     as that; ready is who serves and does not stop; alive is who answers at all: /healthz is 200 within 2 s whatever the
     database does, since restarting would not bring the database back. */}}
{{- define "cliscale.probes" -}}
startupProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 1
  timeoutSeconds: 3
  failureThreshold: {{ add .Values.database.waitSeconds 30 }}
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 2
  timeoutSeconds: 3
  failureThreshold: 2
livenessProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
{{- end }}

{{/* Node selector, tolerations, affinity, priority: as the part says. */}}
{{- define "cliscale.placement" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Over zones and nodes as evenly as is possible, counted for each release of the pod template by itself, so that a
     rolling update's new pods are spread as well. Never a reason not to run. Arguments: root context, component, and the
     part's own constraints in place of these. */}}
{{- define "cliscale.spread" -}}
topologySpreadConstraints:
{{- if index . 2 }}
{{- toYaml (index . 2) | nindent 2 }}
{{- else }}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels: {{- include "cliscale.selector" (list (index $ 0) (index $ 1)) | nindent 8 }}
{{- end }}
{{- end }}
{{- end }}

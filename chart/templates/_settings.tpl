{{/* The programs' settings as variables. Whatever changes here changes the pod, so pods are replaced by themselves. */}}

{{/* A variable that is only there where there is a value; arguments: the name and the value. Values of files come as floating
     point, and whole ones of seven digits and more would be written like 1e+06 if they were not made integers first. */}}
{{- define "cliscale.variable" -}}
{{- $value := index . 1 -}}
{{- if kindIs "float64" $value }}{{ if eq (floor $value) $value }}{{ $value = int64 $value }}{{ end }}{{ end -}}
{{- if and (not (kindIs "invalid" $value)) (ne (toString $value) "") }}
- name: {{ index . 0 }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end }}

{{/* What controller and gateway are both told; arguments: the root context, and the Secret with the database's URL. */}}
{{- define "cliscale.sharedEnv" -}}
{{- $root := index . 0 -}}
{{ include "cliscale.databaseEnv" . }}
{{- $database := $root.Values.database }}
{{- include "cliscale.variable" (list "CLISCALE_DATABASE_CONNECTIONS" $database.connections) }}
{{- include "cliscale.variable" (list "CLISCALE_DATABASE_WAIT_SECS" $database.waitSeconds) }}
{{- include "cliscale.variable" (list "CLISCALE_DATABASE_CONNECT_TIMEOUT_MS" $database.connectTimeoutMs) }}
{{- include "cliscale.variable" (list "CLISCALE_DATABASE_STATEMENT_TIMEOUT_MS" $database.statementTimeoutMs) }}
{{- include "cliscale.variable" (list "CLISCALE_DATABASE_LOCK_TIMEOUT_MS" $database.lockTimeoutMs) }}
- name: CLISCALE_ENCRYPTION_KEY_FILE
  value: /etc/cliscale/encryption-key/key
{{- include "cliscale.variable" (list "CLISCALE_PUBLIC_URL" $root.Values.publicUrl) }}
{{- include "cliscale.variable" (list "CLISCALE_TRUSTED_PROXY_HOPS" (include "cliscale.proxyHops" $root)) }}
{{- include "cliscale.variable" (list "CLISCALE_LOG_FORMAT" $root.Values.log.format) }}
{{- include "cliscale.variable" (list "CLISCALE_LOG" $root.Values.log.filter) }}
{{- end }}

{{- define "cliscale.controllerEnv" -}}
{{ include "cliscale.sharedEnv" (list . (include "cliscale.databaseSecret" .)) }}
{{- $controller := .Values.controller }}
{{- $runner := .Values.runner }}
{{- $sessions := .Values.sessions }}
- name: CLISCALE_KEYS_DIR
  value: /etc/cliscale/signing-keys
- name: CLISCALE_API_KEY_FILE
  value: /etc/cliscale/api-key/API_KEY
- name: CLISCALE_LAUNCHER
  value: kubernetes
- name: CLISCALE_INTERNAL_URL
  value: {{ include "cliscale.internalUrl" . }}
- name: CLISCALE_KUBERNETES_NAMESPACE
  value: {{ .Release.Namespace }}
- name: CLISCALE_KUBERNETES_INSTANCE
  value: {{ .Release.Name }}
{{- include "cliscale.variable" (list "CLISCALE_SHUTDOWN_DELAY_SECS" $controller.shutdownDelaySeconds) }}
{{- include "cliscale.variable" (list "CLISCALE_KUBERNETES_LIST_SECS" $runner.listSeconds) }}
- name: CLISCALE_RUNNER_IMAGE
  value: {{ include "cliscale.image" (list . $runner.image) }}
{{- include "cliscale.variable" (list "CLISCALE_RUNNER_FOLDERS" $runner.folders) }}
{{- if $runner.installer.enabled }}
- name: CLISCALE_RUNNER_INSTALLER_IMAGE
  value: {{ include "cliscale.image" (list . $runner.installer.image) }}
{{- end }}
- name: CLISCALE_RUNNER_POD_TEMPLATE
  value: /etc/cliscale/runner-pod/template.yaml
{{- if .Values.pools }}
- name: CLISCALE_POOLS
  value: /etc/cliscale/runner-pod/pools.yaml
{{- end }}
{{- include "cliscale.variable" (list "CLISCALE_RUNNER_CPU" $runner.cpu) }}
{{- include "cliscale.variable" (list "CLISCALE_RUNNER_MEMORY" $runner.memory) }}
{{- include "cliscale.variable" (list "CLISCALE_RUNNER_EPHEMERAL_STORAGE" $runner.ephemeralStorage) }}
{{- include "cliscale.variable" (list "CLISCALE_RUNNER_TTL_SECS" $runner.jobTtlSeconds) }}
{{- include "cliscale.variable" (list "CLISCALE_UNSCHEDULABLE_SECS" $runner.unschedulableSeconds) }}
{{- include "cliscale.variable" (list "CLISCALE_BOOT_DEADLINE_SECS" $runner.bootDeadlineSeconds) }}
{{- include "cliscale.variable" (list "CLISCALE_HEARTBEAT_SECS" $runner.heartbeatSeconds) }}
{{- include "cliscale.variable" (list "CLISCALE_RUNNER_IDLE_SECS" $runner.idleSeconds) }}
{{- include "cliscale.variable" (list "CLISCALE_CREATE_RATE" $sessions.createRate) }}
{{- include "cliscale.variable" (list "CLISCALE_MAX_SESSIONS" $sessions.maxSessions) }}
{{- include "cliscale.variable" (list "CLISCALE_DEFAULT_TTL_SECS" $sessions.defaultTtlSeconds) }}
{{- include "cliscale.variable" (list "CLISCALE_MAX_TTL_SECS" $sessions.maxTtlSeconds) }}
{{- include "cliscale.variable" (list "CLISCALE_DEFAULT_IDLE_SECS" $sessions.defaultIdleSeconds) }}
{{- include "cliscale.variable" (list "CLISCALE_LINGER_SECS" $sessions.lingerSeconds) }}
{{- include "cliscale.variable" (list "CLISCALE_KEEP_SESSIONS_HOURS" $sessions.keepHours) }}
{{- with .Values.recordings }}{{ if .url }}
{{- include "cliscale.variable" (list "CLISCALE_RECORDINGS" .url) }}
{{- include "cliscale.variable" (list "CLISCALE_RECORDING_MAX_BYTES" .maxBytes) }}
{{- include "cliscale.variable" (list "CLISCALE_KEEP_RECORDINGS_HOURS" .keepHours) }}
{{- end }}{{ end }}
{{- include "cliscale.variable" (list "CLISCALE_ALLOWED_CODE_DOMAINS" (join "," $sessions.allowedCodeDomains)) }}
{{- if $sessions.allowPrivateCodeHosts }}
{{- include "cliscale.variable" (list "CLISCALE_ALLOW_PRIVATE_CODE_HOSTS" "true") }}
{{- end }}
{{- with $controller.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "cliscale.gatewayEnv" -}}
{{ include "cliscale.sharedEnv" (list . (include "cliscale.gatewayDatabaseSecret" .)) }}
{{- $gateway := .Values.gateway }}
- name: CLISCALE_JWKS_URL
  value: http://{{ include "cliscale.fullname" . }}-controller.{{ .Release.Namespace }}.svc/.well-known/jwks.json
- name: CLISCALE_CONTROLLER_URL
  value: {{ include "cliscale.internalUrl" . }}
{{- include "cliscale.variable" (list "CLISCALE_SHUTDOWN_DELAY_SECS" $gateway.shutdownDelaySeconds) }}
{{- include "cliscale.variable" (list "CLISCALE_DRAIN_SECS" $gateway.drainSeconds) }}
{{- include "cliscale.variable" (list "CLISCALE_MAX_CONNECTIONS" $gateway.maxConnections) }}
{{- include "cliscale.variable" (list "CLISCALE_EMBED_ORIGINS" (join "," $gateway.embedOrigins)) }}
{{- with $gateway.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

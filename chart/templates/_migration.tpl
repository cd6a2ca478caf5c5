{{/* The container that brings the database's schema up to date: in the hook's Job, and with the bundled database in the
     servers' pods. Arguments: the root context, and the Secret with the database's URL. */}}
{{- define "cliscale.migrationContainer" -}}
{{- $root := index . 0 -}}
{{- $migration := $root.Values.migration -}}
- name: migrate
  image: {{ include "cliscale.image" (list $root $root.Values.controller.image) }}
  imagePullPolicy: {{ $root.Values.images.pullPolicy }}
  args: [migrate, up]
  env: {{- include "cliscale.databaseEnv" . | nindent 4 }}
    {{- include "cliscale.variable" (list "CLISCALE_WAIT_SECS" $migration.waitSeconds) | nindent 4 }}
    {{- include "cliscale.variable" (list "CLISCALE_LOCK_TIMEOUT_MS" $migration.lockTimeoutMs) | nindent 4 }}
    {{- include "cliscale.variable" (list "CLISCALE_STATEMENT_TIMEOUT_SECS" $migration.statementTimeoutSeconds) | nindent 4 }}
    {{- include "cliscale.variable" (list "CLISCALE_LOG_FORMAT" $root.Values.log.format) | nindent 4 }}
    {{- include "cliscale.variable" (list "CLISCALE_LOG" $root.Values.log.filter) | nindent 4 }}
  resources: {{- toYaml $migration.resources | nindent 4 }}
  securityContext: {{- include "cliscale.containerSecurity" $root | nindent 4 }}
{{- with include "cliscale.databaseMounts" . }}
  volumeMounts: {{- . | nindent 4 }}
{{- end }}
{{- end }}

{{/* When the hook runs; empty for never. An external database is there before the release is. The bundled one can only be
     migrated ahead of an upgrade where it runs already; until then an init container of the servers does it. */}}
{{- define "cliscale.migrationHook" -}}
{{- if .Values.migration.enabled -}}
{{- if not .Values.postgresql.enabled -}}
pre-install,pre-upgrade
{{- else -}}
{{- $name := printf "%s-postgresql" (include "cliscale.fullname" .) -}}
{{- $there := lookup "apps/v1" "StatefulSet" .Release.Namespace $name -}}
{{- if and $there (gt (int (dig "status" "readyReplicas" 0 $there)) 0) }}pre-upgrade{{ end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The Secret with the database's URL for the hook: one that exists, else a hook's own, since the release's is made only
     after the hook. */}}
{{- define "cliscale.migrationSecret" -}}
{{ default (printf "%s-migrate" (include "cliscale.fullname" .)) .Values.database.existingSecret }}
{{- end }}

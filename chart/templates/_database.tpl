{{/* Where the database is and who may use it: an external one named by a Secret, or the bundled one. Programs may have
     Secrets (database users) of their own, so most of this takes the root context and the Secret's name. */}}

{{/* The Secret with the external database's URL: an existing one, else the release's. */}}
{{- define "cliscale.databaseSecret" -}}
{{ default (printf "%s-database" (include "cliscale.fullname" .)) .Values.database.existingSecret }}
{{- end }}

{{/* The gateways' Secret: a user with fewer rights (docs/postgresql.md), else the same. */}}
{{- define "cliscale.gatewayDatabaseSecret" -}}
{{ default (include "cliscale.databaseSecret" .) .Values.gateway.database.existingSecret }}
{{- end }}

{{/* Text, empty unless the Secret is the release's own: that one has the key `url`, and no password beside it. */}}
{{- define "cliscale.databaseSecretOwn" -}}
{{- if hasPrefix (printf "%s-" (include "cliscale.fullname" (index . 0))) (index . 1) -}}
{{- if not (has (index . 1) (list (index . 0).Values.database.existingSecret (index . 0).Values.gateway.database.existingSecret)) }}yes{{ end -}}
{{- end -}}
{{- end }}

{{/* Text, empty unless the password is a file of its own. */}}
{{- define "cliscale.databasePassword" -}}
{{- $root := index . 0 -}}
{{- if or $root.Values.postgresql.enabled (and $root.Values.database.passwordKey (not (include "cliscale.databaseSecretOwn" .))) }}yes{{ end -}}
{{- end }}

{{/* The variables that name the database; the same for servers and for migrations. */}}
{{- define "cliscale.databaseEnv" -}}
{{- $root := index . 0 -}}
- name: CLISCALE_DATABASE_URL
{{- if $root.Values.postgresql.enabled }}
  # Inside the namespace, where the network policy lets nobody else in; the bundled server has no certificate.
  value: postgres://cliscale@{{ include "cliscale.fullname" $root }}-postgresql.{{ $root.Release.Namespace }}.svc:5432/cliscale?sslmode=disable
{{- else }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 1 }}
      key: {{ ternary "url" $root.Values.database.urlKey (ne (include "cliscale.databaseSecretOwn" .) "") }}
{{- end }}
{{- if include "cliscale.databasePassword" . }}
- name: CLISCALE_DATABASE_PASSWORD_FILE
  value: /etc/cliscale/database/password
{{- end }}
{{- end }}

{{- define "cliscale.databaseMounts" -}}
{{- if include "cliscale.databasePassword" . }}
- {name: database, mountPath: /etc/cliscale/database, readOnly: true}
{{- end }}
{{- if (index . 0).Values.database.tlsSecret }}
- {name: database-tls, mountPath: /etc/cliscale/database-tls, readOnly: true}
{{- end }}
{{- end }}

{{- define "cliscale.databaseVolumes" -}}
{{- $root := index . 0 -}}
{{- if include "cliscale.databasePassword" . }}
- name: database
  secret:
    defaultMode: 0440
{{- if $root.Values.postgresql.enabled }}
    secretName: {{ include "cliscale.fullname" $root }}-postgresql
    items: [{key: password, path: password}]
{{- else }}
    secretName: {{ index . 1 }}
    items: [{key: {{ $root.Values.database.passwordKey }}, path: password}]
{{- end }}
{{- end }}
{{- with $root.Values.database.tlsSecret }}
- name: database-tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end }}

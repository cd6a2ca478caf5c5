{{/* Where the database is and who may use it: an external one named by a Secret, or the bundled one. */}}

{{/* The Secret with the external database's URL. */}}
{{- define "cliscale.databaseSecret" -}}
{{ default (printf "%s-database" (include "cliscale.fullname" .)) .Values.database.existingSecret }}
{{- end }}

{{/* Whether the password is a file of its own; text, empty for no. */}}
{{- define "cliscale.databasePassword" -}}
{{- if or .Values.postgresql.enabled (and .Values.database.existingSecret .Values.database.passwordKey) }}yes{{ end -}}
{{- end }}

{{/* The variables that name the database; the same for the servers and for migrations. */}}
{{- define "cliscale.databaseEnv" -}}
{{- include "cliscale.databaseEnvOf" (list . (include "cliscale.databaseSecret" .)) -}}
{{- end }}

{{/* Arguments: the root context and the Secret's name. */}}
{{- define "cliscale.databaseEnvOf" -}}
{{- $root := index . 0 -}}
- name: CLISCALE_DATABASE_URL
{{- if $root.Values.postgresql.enabled }}
  # Inside the namespace, where the network policy lets nobody else in; the bundled server has no certificate.
  value: postgres://cliscale@{{ include "cliscale.fullname" $root }}-postgresql.{{ $root.Release.Namespace }}.svc:5432/cliscale?sslmode=disable
{{- else }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 1 }}
      key: {{ ternary $root.Values.database.urlKey "url" (ne $root.Values.database.existingSecret "") }}
{{- end }}
{{- if include "cliscale.databasePassword" $root }}
- name: CLISCALE_DATABASE_PASSWORD_FILE
  value: /etc/cliscale/database/password
{{- end }}
{{- end }}

{{- define "cliscale.databaseMounts" -}}
{{- if include "cliscale.databasePassword" . }}
- {name: database, mountPath: /etc/cliscale/database, readOnly: true}
{{- end }}
{{- if .Values.database.tlsSecret }}
- {name: database-tls, mountPath: /etc/cliscale/database-tls, readOnly: true}
{{- end }}
{{- end }}

{{- define "cliscale.databaseVolumes" -}}
{{- if include "cliscale.databasePassword" . }}
- name: database
  secret:
    defaultMode: 0440
{{- if .Values.postgresql.enabled }}
    secretName: {{ include "cliscale.fullname" . }}-postgresql
    items: [{key: password, path: password}]
{{- else }}
    secretName: {{ .Values.database.existingSecret }}
    items: [{key: {{ .Values.database.passwordKey }}, path: password}]
{{- end }}
{{- end }}
{{- with .Values.database.tlsSecret }}
- name: database-tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end }}

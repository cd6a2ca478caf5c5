{{/* Names and labels. Every object is FULLNAME-PART, and every label set begins with the three that selectors use. */}}

{{- define "cliscale.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* The release's name where that says what it is, else both. 40 characters leave room for the longest part's name. */}}
{{- define "cliscale.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "cliscale.name" .) .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name (include "cliscale.name" .) | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{/* What selects the pods of a component; arguments: the root context and the component. The name is the launcher's
     word, too: it labels runners `cliscale`, whatever nameOverride says. */}}
{{- define "cliscale.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: cliscale
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* All pods of the release, runners included. */}}
{{- define "cliscale.everyPod" -}}
app.kubernetes.io/name: cliscale
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of an object; arguments: the root context and the component. */}}
{{- define "cliscale.labels" -}}
{{- $root := index . 0 -}}
{{ include "cliscale.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Where runners reach the controllers' internal port. */}}
{{- define "cliscale.internalUrl" -}}
http://{{ include "cliscale.fullname" . }}-controller-internal.{{ .Release.Namespace }}.svc:8081
{{- end }}

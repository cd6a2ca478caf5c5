{{/* Images: one registry and one tag for all, and what a part says of its own before that. */}}

{{/* REPOSITORY:TAG, with the digest behind it where there is one. Arguments: the registry, the part's image, and the
     tag where nobody says one. */}}
{{- define "cliscale.imageOf" -}}
{{- $registry := index . 0 -}}
{{- $image := index . 1 -}}
{{- $repository := $image.repository -}}
{{- /* What begins with a host's name is complete, as in any image's name. */ -}}
{{- $host := regexMatch "^([^/]*[.:][^/]*|localhost)/" $repository -}}
{{- if and $registry (not $host) -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" $registry) $repository -}}
{{- end -}}
{{- $tag := default (index . 2) $image.tag -}}
{{ $repository }}{{ with $tag }}:{{ . }}{{ end }}{{ with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* One of the project's own images, which share a tag. */}}
{{- define "cliscale.image" -}}
{{- $root := index . 0 -}}
{{ include "cliscale.imageOf" (list $root.Values.images.registry (index . 1) (default $root.Chart.AppVersion $root.Values.images.tag)) }}
{{- end }}

{{- define "cliscale.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* What runners' pods have besides what the launcher gives them: a PodTemplateSpec, made of `runner.podTemplate` and the
     values that are asked for most. The launcher refuses what would loosen the sandbox. */}}
{{- define "cliscale.runnerPod" -}}
{{- $runner := .Values.runner -}}
{{- $template := deepCopy $runner.podTemplate -}}
{{- $spec := default dict $template.spec -}}
{{- range $field := list "runtimeClassName" "priorityClassName" "nodeSelector" "tolerations" "affinity" -}}
{{- with get $runner $field }}{{ $_ := set $spec $field . }}{{ end -}}
{{- end -}}
{{- if .Values.images.pullSecrets -}}
{{- $secrets := default list $spec.imagePullSecrets -}}
{{- range .Values.images.pullSecrets }}{{ $secrets = append $secrets (dict "name" .) }}{{ end -}}
{{- $_ := set $spec "imagePullSecrets" $secrets -}}
{{- end -}}
{{- $containers := list -}}
{{- $container := dict "name" "runner" -}}
{{- range default list $spec.containers -}}
{{- if eq .name "runner" }}{{ $container = . }}{{ else }}{{ $containers = append $containers . }}{{ end -}}
{{- end -}}
{{- if not (hasKey $container "imagePullPolicy") }}{{ $_ := set $container "imagePullPolicy" .Values.images.pullPolicy }}{{ end -}}
{{- with $runner.installCaches }}
{{- $volume := merge (dict "name" "install-caches") . -}}
{{- $_ := set $spec "volumes" (append (default list $spec.volumes) $volume) -}}
{{- $mount := dict "name" "install-caches" "mountPath" "/caches" "readOnly" true -}}
{{- $_ := set $container "volumeMounts" (append (default list $container.volumeMounts) $mount) -}}
{{- $env := dict "name" "CLISCALE_INSTALL_CACHES" "value" "/caches" -}}
{{- $_ := set $container "env" (append (default list $container.env) $env) -}}
{{- end -}}
{{- $_ := set $spec "containers" (prepend $containers $container) -}}
{{- $_ := set $template "spec" $spec -}}
{{ toYaml $template }}
{{- end }}

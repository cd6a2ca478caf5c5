{{/* Secrets: an existing one by name, else one that is drawn once and then kept.

     What was drawn is read back from the cluster at every upgrade, by `lookup`. Where that sees no cluster (`helm
     template`, GitOps tools, a client's dry run) drawing would mean another key at every rendering, so there an existing
     Secret is demanded instead. */}}

{{/* Text, empty where `lookup` sees no cluster. Every namespace has this service account, and whoever may install the
     chart may read it; only before `--create-namespace` made the namespace it is not there, and whoever may make
     namespaces may read the one that is always there. */}}
{{- define "cliscale.seesCluster" -}}
{{- if lookup "v1" "ServiceAccount" .Release.Namespace "default" }}yes
{{- else if lookup "v1" "Namespace" "" "default" }}yes
{{- end -}}
{{- end }}

{{/* The Secret of that name as it is in the cluster, as JSON: {} where there is none. */}}
{{- define "cliscale.secretThere" -}}
{{ lookup "v1" "Secret" (index . 0).Release.Namespace (index . 1) | toJson }}
{{- end }}

{{/* Whose the Secret of that name is: "release", "foreign", or empty where none is seen. */}}
{{- define "cliscale.secretOwner" -}}
{{- $there := include "cliscale.secretThere" . | fromJson -}}
{{- if $there -}}
{{- $annotations := default dict $there.metadata.annotations -}}
{{- eq (default "" (get $annotations "meta.helm.sh/release-name")) (index . 0).Release.Name | ternary "release" "foreign" -}}
{{- end -}}
{{- end }}

{{/* Text, empty unless the release has the Secret among its objects; arguments: root context, the default name, and what
     values name instead. One that was there before is used as it is. And one that the release made stays the release's when
     values come to name it: if it were left out, Helm would delete what the pods are about to mount. */}}
{{- define "cliscale.secretKept" -}}
{{- $owner := include "cliscale.secretOwner" . -}}
{{- if not (index . 2) -}}
{{- if ne $owner "foreign" }}yes{{ end -}}
{{- else if and (eq (index . 1) (index . 2)) (eq $owner "release") -}}
yes
{{- end -}}
{{- end }}

{{/* Says what is missing and how to make it; arguments: root context, Secret's name, value's name, command. */}}
{{- define "cliscale.demandSecret" -}}
{{- $root := index . 0 -}}
{{- if not (include "cliscale.seesCluster" $root) -}}
{{- $lines := list
  (printf "%s is needed here: no cluster is seen (helm template, GitOps or a client's dry run), so a key that is drawn could not be kept." (index . 2))
  "Make the Secret once:"
  (printf "  kubectl -n %s create secret generic %s %s" $root.Release.Namespace (index . 1) (index . 3))
  (printf "and name it: --set %s=%s" (index . 2) (index . 1))
  "A dry run sees the cluster with --dry-run=server." -}}
{{- fail (printf "\n%s" (join "\n" $lines)) -}}
{{- end -}}
{{- end }}

{{/* Names. */}}
{{- define "cliscale.apiKeySecret" -}}
{{ default (printf "%s-api-key" (include "cliscale.fullname" .)) .Values.apiKey.existingSecret }}
{{- end }}
{{- define "cliscale.signingKeysSecret" -}}
{{ default (printf "%s-signing-keys" (include "cliscale.fullname" .)) .Values.signingKeys.existingSecret }}
{{- end }}
{{- define "cliscale.encryptionKeySecret" -}}
{{ default (printf "%s-encryption-key" (include "cliscale.fullname" .)) .Values.encryptionKey.existingSecret }}
{{- end }}

{{/* Data of the Secrets that the release keeps, as YAML, in base64. */}}

{{/* `csk_` lets scanners for leaked secrets tell it; 43 letters and digits are 256 random bits. */}}
{{- define "cliscale.apiKeyData" -}}
{{- $name := include "cliscale.apiKeySecret" . -}}
{{- $there := include "cliscale.secretThere" (list . $name) | fromJson -}}
{{- if .Values.apiKey.value -}}
API_KEY: {{ .Values.apiKey.value | b64enc }}
{{- else if and $there (hasKey (default dict $there.data) "API_KEY") -}}
API_KEY: {{ $there.data.API_KEY }}
{{- else -}}
{{- include "cliscale.demandSecret" (list . $name "apiKey.existingSecret" "--from-literal=API_KEY=csk_$(openssl rand -hex 32)") -}}
API_KEY: {{ printf "csk_%s" (randAlphaNum 43) | b64enc }}
{{- end -}}
{{- end }}

{{/* All that is there is kept, so that a key which was added by hand stays through upgrades. The first key: RSA of 2048
     bits, as the controller draws them itself (genPrivateKey would make 4096 bits, which sign six times slower). Its
     name begins with the time, as files of this folder sort by age. */}}
{{- define "cliscale.signingKeysData" -}}
{{- $name := include "cliscale.signingKeysSecret" . -}}
{{- $there := include "cliscale.secretThere" (list . $name) | fromJson -}}
{{- if and $there $there.data -}}
{{ toYaml $there.data }}
{{- else -}}
{{- include "cliscale.demandSecret" (list . $name "signingKeys.existingSecret" "--from-file=1-first.pem=<(openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048)") -}}
{{ now | unixEpoch }}000-first.pem: {{ (genSelfSignedCert "cliscale" nil nil 1).Key | b64enc }}
{{- end -}}
{{- end }}

{{/* 32 bytes of the system's cryptographic source, as hexadecimal digits. */}}
{{- define "cliscale.encryptionKeyData" -}}
{{- $name := include "cliscale.encryptionKeySecret" . -}}
{{- $there := include "cliscale.secretThere" (list . $name) | fromJson -}}
{{- if and $there (hasKey (default dict $there.data) "key") -}}
key: {{ $there.data.key }}
{{- else -}}
{{- include "cliscale.demandSecret" (list . $name "encryptionKey.existingSecret" "--from-literal=key=$(openssl rand -hex 32)") -}}
key: {{ randBytes 32 | b64dec | printf "%x" | b64enc }}
{{- end -}}
{{- end }}

{{- define "cliscale.postgresqlData" -}}
{{- $name := printf "%s-postgresql" (include "cliscale.fullname" .) -}}
{{- $there := include "cliscale.secretThere" (list . $name) | fromJson -}}
{{- if .Values.postgresql.password -}}
password: {{ .Values.postgresql.password | b64enc }}
{{- else if and $there (hasKey (default dict $there.data) "password") -}}
password: {{ $there.data.password }}
{{- else -}}
{{- if not (include "cliscale.seesCluster" .) -}}
{{- fail "\npostgresql.password is needed here: no cluster is seen (helm template, GitOps or a client's dry run), so a password that is drawn could not be kept.\nDraw one: openssl rand -hex 24\nA dry run sees the cluster with --dry-run=server." -}}
{{- end -}}
password: {{ randAlphaNum 32 | b64enc }}
{{- end -}}
{{- end }}

{{/* The external database's URL, as it was given; or as it is there, once values name the release's own Secret. */}}
{{- define "cliscale.databaseData" -}}
{{- if .Values.database.url -}}
url: {{ .Values.database.url | b64enc }}
{{- else -}}
{{- (include "cliscale.secretThere" (list . (include "cliscale.databaseSecret" .)) | fromJson).data | toYaml -}}
{{- end -}}
{{- end }}

{{/* The file that the programs read, whatever the Secret calls it. */}}
{{- define "cliscale.encryptionKeyVolume" -}}
- name: encryption-key
  secret:
    secretName: {{ include "cliscale.encryptionKeySecret" . }}
    defaultMode: 0440
    items: [{key: {{ ternary .Values.encryptionKey.key "key" (ne .Values.encryptionKey.existingSecret "") }}, path: key}]
{{- end }}

{{/* Changes with a secret, so that pods are replaced. Four digits are enough to notice a change, and too few to try guesses
     by: annotations are no secret. */}}
{{- define "cliscale.changeMark" -}}
{{ sha256sum . | trunc 4 | quote }}
{{- end }}

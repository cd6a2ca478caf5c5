{{/* Mistakes that the schema cannot see, since they lie between two values: said at once, before anything is made. */}}
{{- define "cliscale.check" -}}
{{- if contains "." .Release.Name -}}
{{- fail (printf "\nThe release's name %q has a dot: Services cannot be named by it." .Release.Name) -}}
{{- end -}}
{{- $database := .Values.database -}}
{{- if and .Values.postgresql.enabled (or $database.existingSecret $database.url) -}}
{{- fail "\nTwo databases are named: postgresql.enabled brings the bundled one, database.existingSecret or database.url names an external one. Choose." -}}
{{- end -}}
{{- if not (or .Values.postgresql.enabled $database.existingSecret $database.url) -}}
{{- fail (printf "\nNo database is named. An external PostgreSQL:\n  kubectl -n %s create secret generic cliscale-database --from-literal=url='postgres://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full'\nand --set database.existingSecret=cliscale-database; or, for development, the bundled one: --set postgresql.enabled=true" .Release.Namespace) -}}
{{- end -}}
{{- if and $database.existingSecret $database.url -}}
{{- fail "\ndatabase.existingSecret and database.url are both given. Choose." -}}
{{- end -}}
{{- if and .Values.apiKey.existingSecret .Values.apiKey.value -}}
{{- fail "\napiKey.existingSecret and apiKey.value are both given. Choose." -}}
{{- end -}}
{{- if and .Values.ingress.gce.managedCertificate (not .Values.ingress.hostname) -}}
{{- fail "\ningress.gce.managedCertificate needs ingress.hostname: Google certifies names." -}}
{{- end -}}
{{- if and .Values.ingress.tls.certManagerIssuer (not (and .Values.ingress.tls.enabled .Values.ingress.hostname)) -}}
{{- fail "\ningress.tls.certManagerIssuer needs ingress.tls.enabled=true and ingress.hostname." -}}
{{- end -}}
{{- if and .Values.ingress.tls.enabled (not (or .Values.ingress.tls.secretName .Values.ingress.tls.certManagerIssuer .Values.ingress.gce.managedCertificate)) -}}
{{- fail "\ningress.tls.enabled needs a certificate: ingress.tls.secretName (an existing Secret), ingress.tls.certManagerIssuer, or on GKE ingress.gce.managedCertificate." -}}
{{- end -}}
{{- if gt (int .Values.sessions.defaultTtlSeconds) (int .Values.sessions.maxTtlSeconds) -}}
{{- fail "\nsessions.defaultTtlSeconds is above sessions.maxTtlSeconds." -}}
{{- end -}}
{{- $recordings := .Values.recordings -}}
{{- if hasPrefix "file:" $recordings.url -}}
{{- if or .Values.controller.autoscaling.enabled (ne (int .Values.controller.replicas) 1) -}}
{{- fail "\nrecordings.url is a folder, which one controller alone can have: set controller.replicas=1 without controller.autoscaling, or name a bucket (s3://, gs://, az://)." -}}
{{- end -}}
{{- if not $recordings.existingClaim -}}
{{- fail "\nrecordings.url is a folder: recordings.existingClaim must name the PersistentVolumeClaim that is mounted there, or recordings would be gone with the pod." -}}
{{- end -}}
{{- else if $recordings.existingClaim -}}
{{- fail "\nrecordings.existingClaim is for recordings.url=file:///FOLDER alone." -}}
{{- end -}}
{{- with .Values.pools -}}
{{- $named := false -}}
{{- range . }}{{ if eq .name "default" }}{{ $named = true }}{{ end }}{{ end -}}
{{- if not $named -}}
{{- fail "\npools has no entry named default, which sessions without a template need." -}}
{{- end -}}
{{- end -}}
{{- if and .Values.runner.installer.enabled (not .Values.runner.installer.image.repository) -}}
{{- fail "\nrunner.installer.enabled needs runner.installer.image.repository." -}}
{{- end -}}
{{- if and .Values.runner.installer.enabled (eq .Values.runner.folders "image") -}}
{{- fail "\nrunner.folders=image goes without runner.installer.enabled: only an image that has the runner program has its folders, too." -}}
{{- end -}}
{{- end }}

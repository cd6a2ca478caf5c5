{{/* Ingress presets: what each kind of ingress controller or balancer needs to carry terminals, and how many proxies of
     it stand before the pods.

     A terminal is one WebSocket for as long as a session lives, at most a day: 86400 s. Everything between sends
     small pieces at once, so nothing may buffer them. */}}

{{/* How many proxies are believed about X-Forwarded-*: the entry that many places from the right is the client.
     nginx and Traefik replace the header with the one address that they saw, HAProxy appends that, so it is the last.
     Google's balancer appends two: the client's, and its own. */}}
{{- define "cliscale.proxyHops" -}}
{{- if not (kindIs "invalid" .Values.trustedProxyHops) -}}
{{ int .Values.trustedProxyHops }}
{{- else if not .Values.ingress.enabled -}}
0
{{- else -}}
{{ get (dict "none" 0 "nginx" 1 "traefik" 1 "haproxy" 1 "gce" 2) .Values.ingress.preset }}
{{- end -}}
{{- end }}

{{/* The class's name; GKE reads it from an annotation alone. */}}
{{- define "cliscale.ingressClass" -}}
{{- if ne .Values.ingress.preset "gce" -}}
{{ default (ternary "" .Values.ingress.preset (eq .Values.ingress.preset "none")) .Values.ingress.className }}
{{- end -}}
{{- end }}

{{/* The preset's annotations of the Ingress, as YAML. */}}
{{- define "cliscale.presetAnnotations" -}}
{{- $ingress := .Values.ingress -}}
{{- $redirect := and $ingress.tls.enabled $ingress.httpsRedirect -}}
{{- if eq $ingress.preset "nginx" }}
nginx.ingress.kubernetes.io/proxy-read-timeout: "86400"
nginx.ingress.kubernetes.io/proxy-send-timeout: "86400"
nginx.ingress.kubernetes.io/proxy-http-version: "1.1"
nginx.ingress.kubernetes.io/proxy-buffering: "off"
nginx.ingress.kubernetes.io/proxy-request-buffering: "off"
# Above the limits of the API and of a session's files, which say so in words.
nginx.ingress.kubernetes.io/proxy-body-size: 513m
nginx.ingress.kubernetes.io/ssl-redirect: {{ $redirect | quote }}
{{- else if eq $ingress.preset "traefik" }}
{{- /* Its timeouts do not concern connections that were upgraded, and it buffers only where a middleware says so. */}}
{{- if $redirect }}
traefik.ingress.kubernetes.io/router.middlewares: {{ .Release.Namespace }}-{{ include "cliscale.fullname" . }}-https@kubernetescrd
{{- end }}
{{- else if eq $ingress.preset "haproxy" }}
{{- /* Two controllers go by this name; each reads its own prefix: haproxytech's and haproxy-ingress'. */}}
haproxy.org/timeout-server: 86400s
# Its timeout-tunnel is a setting of the whole controller, an hour by default.
haproxy.org/backend-config-snippet: timeout tunnel 86400s
haproxy.org/forwarded-for: "true"
haproxy.org/ssl-redirect: {{ $redirect | quote }}
haproxy-ingress.github.io/timeout-server: 86400s
haproxy-ingress.github.io/timeout-tunnel: 86400s
haproxy-ingress.github.io/ssl-redirect: {{ $redirect | quote }}
{{- else if eq $ingress.preset "gce" }}
kubernetes.io/ingress.class: {{ default "gce" $ingress.className }}
{{- with $ingress.gce.staticIpName }}
kubernetes.io/ingress.global-static-ip-name: {{ . }}
{{- end }}
{{- if $redirect }}
networking.gke.io/v1beta1.FrontendConfig: {{ include "cliscale.fullname" . }}
{{- end }}
{{- if $ingress.gce.managedCertificate }}
networking.gke.io/managed-certificates: {{ include "cliscale.fullname" . }}
{{- end }}
{{- end }}
{{- with $ingress.tls.certManagerIssuer }}
cert-manager.io/cluster-issuer: {{ . }}
{{- if eq $ingress.preset "gce" }}
# One balancer for each Ingress: the proof must come through this one.
acme.cert-manager.io/http01-edit-in-place: "true"
{{- end }}
{{- end }}
{{- end }}

{{/* Annotations of the Services behind the Ingress, as YAML. */}}
{{- define "cliscale.serviceAnnotations" -}}
{{- if and .Values.ingress.enabled (eq .Values.ingress.preset "gce") -}}
cloud.google.com/neg: '{"ingress": true}'
cloud.google.com/backend-config: '{"default": "{{ include "cliscale.fullname" . }}"}'
{{- end -}}
{{- end }}

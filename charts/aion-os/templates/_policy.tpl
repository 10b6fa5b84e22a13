{{/*
The policy bundle as canonical JSON (RFC 8785: sorted keys, no spaces; the bundle holds no floats that would differ), so that
sha256 of the file is the digest that every process computes.
*/}}
{{- define "aion.policy" -}}
{{- $default := .Files.Get "files/policy.yaml" | fromYaml -}}
{{- $bundle := mergeOverwrite $default (deepCopy .Values.policy) -}}
{{- with .Values.search.url -}}
{{-   $url := urlParse . -}}
{{-   $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (ternary "443" "80" (eq $url.scheme "https")) | int -}}
{{-   $rule := dict "host" (regexReplaceAll ":[0-9]+$" $url.host "") "ports" (list $port) "private" $.Values.search.private -}}
{{-   $egress := $bundle.egress | default dict -}}
{{-   $_ := set $bundle "egress" (merge (dict "allow" (append ($egress.allow | default list) $rule)) $egress) -}}
{{- end -}}
{{- toRawJson $bundle -}}
{{- end }}

{{- define "aion.policyName" -}}
aion-policy-{{ include "aion.policy" . | sha256sum | trunc 12 }}
{{- end }}

{{/* tools.config with the search server's address for the sample tool; what was written by hand wins. */}}
{{- define "aion.toolConfig" -}}
{{- $config := deepCopy .Values.tools.config -}}
{{- with .Values.search.url -}}
{{-   $config = merge $config (dict "web-search" (dict "searchUrl" .)) -}}
{{- end -}}
{{- toRawJson $config -}}
{{- end }}

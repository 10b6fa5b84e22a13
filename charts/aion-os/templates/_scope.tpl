{{/*
The namespaces that this installation is bound to, as a JSON list: empty means the whole cluster. Everything that depends on `scope` asks here.
*/}}
{{- define "aion.namespaces" -}}
{{- if eq .Values.scope "Namespaced" -}}
{{-   if not .Values.watchNamespaces -}}{{- fail "scope is Namespaced: name the tenants' namespaces in watchNamespaces" -}}{{- end -}}
{{-   toJson (sortAlpha .Values.watchNamespaces) -}}
{{- else -}}
{{-   if .Values.watchNamespaces -}}{{- fail "watchNamespaces is set, but scope is Cluster: set scope to Namespaced, or leave watchNamespaces empty" -}}{{- end -}}
[]
{{- end -}}
{{- end }}

{{/* The line `resourceNames:` of a rule about objects that are named like a namespace of ours (the namespace itself, its Tenant); nothing where the whole cluster is ours. */}}
{{- define "aion.namedLikeOurs" -}}
{{- with include "aion.namespaces" . | fromJsonArray }}
    resourceNames: {{ toJson . }}
{{- end }}
{{- end }}

{{/* The namespaceSelector of our namespaces; everything where the whole cluster is ours. */}}
{{- define "aion.ourNamespaces" -}}
{{- with include "aion.namespaces" . | fromJsonArray -}}
{matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: {{ toJson . }}}]}
{{- else -}}
{}
{{- end -}}
{{- end }}

{{/*
Rights in tenants' namespaces: `dict "root" $ "name" "controller" "rules" "<template of the rules>"`. One ClusterRole for the whole
cluster, or a Role in each of our namespaces and nothing anywhere else.
*/}}
{{- define "aion.tenantRights" -}}
{{- $rights := . -}}
{{- $name := printf "aion-%s-tenants" .name -}}
{{- range $namespace := include "aion.namespaces" .root | fromJsonArray | default (list "") }}
{{- $where := ternary "" "Cluster" (ne $namespace "") }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $where }}Role
metadata:
  name: {{ $name }}
  {{- with $namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "aion.labels" $rights | nindent 4 }}
rules:
  {{- include $rights.rules $rights.root | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $where }}RoleBinding
metadata:
  name: {{ $name }}
  {{- with $namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "aion.labels" $rights | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: {{ $where }}Role, name: {{ $name }}}
subjects:
  - {kind: ServiceAccount, name: aion-{{ $rights.name }}, namespace: {{ $rights.root.Release.Namespace }}}
{{- end }}
{{- end }}

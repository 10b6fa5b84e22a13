{{/* Labels of every object; `dict "root" $ "name" "kernel"`. */}}
{{- define "aion.labels" -}}
{{ include "aion.selector" . }}
app.kubernetes.io/part-of: aion-os
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "aion.selector" -}}
app.kubernetes.io/name: aion-{{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{/* A reference to one of our images: repository, then digest or tag. */}}
{{- define "aion.image" -}}
{{- $own := index .root.Values.images .name | default dict -}}
{{- $repository := $own.repository | default (printf "%s/%s" (.root.Values.images.registry | trimSuffix "/") .name) -}}
{{- if $own.digest -}}
{{ $repository }}@{{ $own.digest }}
{{- else -}}
{{ $repository }}:{{ $own.tag | default .root.Values.images.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "aion.pullPolicy" -}}
{{- $own := index .root.Values.images .name | default dict -}}
{{ $own.pullPolicy | default .root.Values.images.pullPolicy }}
{{- end }}

{{- define "aion.nodeNamespace" -}}
{{ .Values.node.namespace | default (printf "%s-node" .Release.Namespace) }}
{{- end }}

{{/* What all our own containers have in common: Pod Security `restricted` and a read-only root. */}}
{{- define "aion.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "aion.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10003
runAsGroup: 10003
fsGroup: 10003
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Scheduling and pull secrets of a workload: `dict "root" $ "values" .Values.kernel`. */}}
{{- define "aion.placement" -}}
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets: {{ range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- end }}

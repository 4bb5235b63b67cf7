{{- define "eniway.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "eniway.controller" -}}{{ include "eniway.fullname" . }}-controller{{- end -}}
{{- define "eniway.agent" -}}{{ include "eniway.fullname" . }}-agent{{- end -}}
{{- define "eniway.crds" -}}{{ include "eniway.fullname" . }}-crds{{- end -}}

{{- define "eniway.controllerAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "eniway.controller" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "eniway.agentAccount" -}}
{{- if .Values.agent.serviceAccount.create -}}
{{- default (include "eniway.agent" .) .Values.agent.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.agent.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The region; J's key is `awsRegion`. */}}
{{- define "eniway.region" -}}{{ default .Values.awsRegion .Values.aws.region }}{{- end -}}

{{/* Labels that select pods. Call with (list $ "component"). */}}
{{- define "eniway.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* All labels. Call with (list $ "component"). */}}
{{- define "eniway.labels" -}}
{{- $root := index . 0 -}}
{{ include "eniway.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ $root.Chart.Name }}-{{ $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The image of a component. Call with (list $ "controller"). */}}
{{- define "eniway.image" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $image := $root.Values.image -}}
{{- $digest := index $image.digests $component -}}
{{- $image.repository }}/{{ $component }}:{{ default $root.Chart.AppVersion $image.tag }}
{{- with $digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* Annotations of the hooks that apply the definitions. Call with the weight. */}}
{{- define "eniway.hook" -}}
helm.sh/hook: pre-install,pre-upgrade,pre-rollback
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{- define "eniway.environment" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- end -}}

{{/* What every container of ours may not do. */}}
{{- define "eniway.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "eniway.nonroot" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

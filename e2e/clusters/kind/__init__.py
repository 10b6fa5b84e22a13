"""The cluster by kind: Kubernetes inside a container of Docker or Podman."""

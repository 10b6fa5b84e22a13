"""AION-OS: what runs in the cluster, one folder a concern. The map is operator/README.md."""

__version__ = "0.1.0"

"""ktool: Kubernetes' operations on plain Linux machines."""

__version__ = "0.1.0"

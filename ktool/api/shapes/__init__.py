"""Field trees of Kubernetes' types that several kinds share."""

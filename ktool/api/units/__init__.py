"""Units of Kubernetes' texts: resource quantities and durations."""

"""Units of Kubernetes' texts: resource quantities and durations. Schemas, columns and pod rendering use them."""

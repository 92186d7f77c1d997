"""L0, the vocabulary: plain Kubernetes objects and the pure values that describe them. Standard library only."""

"""L0, the vocabulary: plain Kubernetes objects and the pure values that describe them. Every other package imports it;
it imports the standard library only.
"""

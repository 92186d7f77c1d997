"""L2, one file per resource kind: its names, shape, columns and what its controller would do. Found by discovery."""

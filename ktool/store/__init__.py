"""The store: objects on disk as JSON by key, with revisions, history and watches. registry/ uses it."""

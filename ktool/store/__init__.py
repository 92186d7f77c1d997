"""Store: objects on disk as JSON by key, with revisions, history and watches. registry/ and control/lease use it."""

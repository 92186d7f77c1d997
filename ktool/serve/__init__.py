"""Server: the Kubernetes REST face on a unix socket. `app.serve` starts it."""

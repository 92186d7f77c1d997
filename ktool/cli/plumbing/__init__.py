"""Parts that verbs share: options, arguments, sessions, convergence, errors."""

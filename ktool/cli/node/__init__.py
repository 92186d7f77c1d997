"""Verbs about nodes: `node`, and what enrolment and network checks need. `cli/main` loads them."""

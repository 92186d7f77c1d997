"""Registry: the API server as a library, with the one door for writes. Everything above the store goes through it."""

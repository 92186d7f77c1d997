"""Following: a World kept up to date by watches, and waiting on it. Commands use it."""

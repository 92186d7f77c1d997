"""L5, the command line: one file per verb, imported only when its verb is used."""

"""L5, the command line: one file per verb, imported only when its verb is used."""

import gc

# What is imported lives until the program ends: looking through it for garbage again and again while the program starts
# costs a tenth of that time.
gc.set_threshold(50_000)

"""The commands. What is imported lives until the program ends: looking through it for garbage again and again while
it starts costs a tenth of that time."""

import gc

gc.set_threshold(50_000)

"""The house itself: contracts, what a start loads, and documents that say what the program does."""

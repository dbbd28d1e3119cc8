"""What scripts/benchmark.py measures: one module for each of its commands, and what these share."""

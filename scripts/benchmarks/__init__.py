"""What scripts/benchmark.py measures, a module for each thing measured and for each contender."""

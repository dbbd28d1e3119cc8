"""What scripts/reproduce.py does: experiments and records in, runs and docs/reference/RESULTS.md out."""

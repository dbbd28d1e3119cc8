"""The sweeper's parts. The way of a trial: ledger asks the study -> space gives overrides -> a slot runs the job ->
assignment reports epochs and prunes inside it -> the outcome is told -> leaderboard rewritten -> the next trial."""

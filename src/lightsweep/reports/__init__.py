"""Reports: takes run folders and studies; gives tables (terminal, CSV, Markdown, JSON), figures, pages and comparisons.

Also what a run shows when it has been scored (`scored_run`, which alone imports torch). Files of runs may come from
somebody else: they are checked and shown as text, and nothing here writes into the folders that it reads.
"""

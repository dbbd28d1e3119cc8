"""Reports over many runs: result.json files -> runs -> tables -> terminal, files or a page.

Whatever lies in a run's folder is data from somebody else: it is read, checked, and shown as text. Nothing here writes
into the folders that it reads, and nothing imports torch.
"""

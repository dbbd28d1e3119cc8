"""What a run leaves in its folder, written and read: config, metrics, result, record of the data, and its name.

Takes a folder or a name; gives plain values. Imports `core` and `config`.
"""

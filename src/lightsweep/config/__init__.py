"""Hydra's configs: the allowlist, checks of keys and of the command line, and the objects that are built from a config.

Takes command lines and config files; gives checked configs, objects, and errors as one line. Imports `core`.
"""

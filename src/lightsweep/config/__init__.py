"""Hydra's configs, seen to be allowed and right: the table of what may be called, keys, overrides, and the objects built.

Takes what was typed and what config files hold; gives composed configs and objects. Imports `core`.
"""

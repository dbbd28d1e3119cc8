"""Hydra's configs: what they may call, which keys exist, what was mistyped, and the objects that are built from them.

Takes what was typed and what config files hold; gives composed configs and objects. Imports `core`.
"""

"""What the scripts share: the command line, errors as one line, and a config checked before anything is built.

May import every other package.
"""

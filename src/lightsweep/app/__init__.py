"""What the scripts in src/ are made of: the command line, the start and the end of a process, and the steps of a run.

Takes what was typed and Hydra's configs; gives the other packages plain values and objects. May import all of them.
"""

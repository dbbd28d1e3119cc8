"""Pictures of a run: plain values in, a matplotlib Figure out. Nothing here knows a folder, a logger or a display.

matplotlib takes half a second to import: import a module of this package where it is about to draw.
"""

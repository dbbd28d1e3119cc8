"""What every package uses: errors, checks of values, files, text, signals, memory, and how an override is written.

Takes and gives plain values. Imports no other package of lightsweep and no training library.
"""

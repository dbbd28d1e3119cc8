"""What every part uses: errors and checks of values, files, text, signals, memory, and how an override is written.

Takes plain values. Imports no other package of lightsweep, and no torch.
"""

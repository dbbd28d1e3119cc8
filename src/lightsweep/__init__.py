"""The parts of lightsweep. None of them reads the command line; src/train.py tells the story that they are parts of."""

__version__ = "0.1.0"

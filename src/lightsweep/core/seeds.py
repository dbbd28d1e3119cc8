"""Random numbers that depend on (seed, epoch, ...) only, so that a resumed run draws what an unbroken one does."""

import random

import numpy as np
import torch


def derive(*parts: int) -> int:
    """One well-mixed 63-bit seed from several small numbers."""
    state = np.random.SeedSequence(parts).generate_state(1, np.uint64)[0]
    return int(state >> np.uint64(1))


def seed_everything(*parts: int) -> None:
    """Seed torch on every device (dropout, initial weights), NumPy and Python."""
    seed = derive(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)

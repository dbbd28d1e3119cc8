"""Random numbers that follow from small numbers alone."""

import random

import numpy as np
import torch

from lightsweep.data.loader import derive, seed_everything


def test_derived_seeds_differ_in_every_part_and_their_order() -> None:
    parts = [(a, b, c) for a in range(6) for b in range(6) for c in range(6)]
    assert len({derive(*one) for one in parts}) == len(parts)


def test_derived_seeds_stay_the_same_and_fit_torch() -> None:
    assert derive(42, 3) == derive(42, 3)
    assert all(0 <= derive(seed) < 2**63 for seed in range(1000))
    torch.Generator().manual_seed(derive(2**40, 10**6))


def test_one_call_seeds_torch_numpy_and_python() -> None:
    draws = []
    for _ in range(2):
        seed_everything(1, 2)
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
    seed_everything(1, 3)
    assert draws[0] == draws[1]
    assert not {random.random(), np.random.rand(), torch.rand(1).item()} & set(draws[0])

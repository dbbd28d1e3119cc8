"""Dropout that draws its mask faster on a CPU."""

import torch
from torch import Tensor, nn

_LEVELS = 1 << 16  # 16 random bits decide on a unit


class Dropout(nn.Dropout):
    """`nn.Dropout`, with four masks from each 64-bit random number on a CPU, where torch draws one a number.

    The probability is rounded to a multiple of 2**-16, and what is kept is scaled by what that leaves. Elsewhere, and
    in a compiled or traced network, it is torch's own.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Features ``[...]`` -> the same shape."""
        plain = features.device.type != "cpu" or torch.compiler.is_compiling() or torch.jit.is_tracing()
        if plain or not self.training:
            return super().forward(features)
        dropped = min(round(self.p * _LEVELS), _LEVELS - 1)
        words = torch.empty(-(-features.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
        draws = words.view(torch.int16)[: features.numel()].view(features.shape)  # uniform over all of int16
        kept = draws >= dropped - _LEVELS // 2
        return features * kept.to(features.dtype).mul_(_LEVELS / (_LEVELS - dropped))

"""The questions that the reports answer, each with the pairs of rows that answer it here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """A question, and pairs of rows: yes where the first is better. `seconds`: is speed a part of the answer?"""

    question: str
    pairs: tuple[tuple[str, str], ...]
    seconds: bool = False


def _chain(*names: str) -> tuple[tuple[str, str], ...]:
    """Each beside the one before it."""
    return tuple(zip(names[1:], names, strict=False))


CLAIMS = (
    Claim("Does BatchNorm with dropout win?", (("a4", "a1"), ("a2", "a1"), ("a4", "a3"), ("d11", "d4"), ("c7", "c6"))),
    Claim("Does BatchNorm alone help the baseline?", (("d7", "d1"),)),
    Claim("Does dropout alone help the baseline?", (("d8", "d1"),)),
    Claim(
        "Is GELU better than ReLU?",
        (("d5", "d1"), ("c2_gelu", "c2_relu"), ("c3_gelu_he_normal", "c3_relu_he_normal")),
    ),
    Claim("Is AdamW better than Adam?", (("d18", "d13"), ("c4_adamw", "c4_adam_1e-3"))),
    Claim(
        "Is early stopping with plateau the best pair?",
        (("d25", "d20"), ("d25", "d22"), ("d25", "d23"), ("d25", "d24")),
    ),
    Claim("Does batch 128 beat 64?", (("d21", "d20"),), seconds=True),
    Claim("Does batch 128 beat 32?", (("d21", "d19"),), seconds=True),
    Claim("Is tanh better than ReLU at the same rate, Adam 1e-3?", (("d6", "d1"), ("c2_tanh", "c2_relu"))),
    Claim(
        "Is each step of report C better than the one before?",
        _chain("c0", "c1", "c2_relu", "c3_relu_he_normal", "c4_rmsprop", "c5", "c6", "c7", "c8"),
    ),
    Claim(
        "Next: is a fixed schedule with warm-up better than the plateau?",
        tuple((f"{row}_{schedule}", row) for row in ("a2", "a3", "a4") for schedule in ("cosine", "step")),
    ),
    Claim("Next: is it L2 that holds D12, Adam at 1e-2, down?", (("d12_no_l2", "d12"),)),
    Claim("Next: is a CNN of the same size better than an MLP?", (("cnn", "mlp"),), seconds=True),
    Claim("Best: how far is it above the reports' best network?", (("best_mlp", "a4"),)),
    Claim("Best: are whitened frequencies better than pixels?", (("best_mlp", "best_mlp_pixels"),)),
    Claim("E: does dropout help?", (("e_mlp", "e_no_dropout"),)),
    Claim("E: does colour help?", (("e_mlp", "e_gray"),)),
    Claim("E: do all images beat five of each class?", (("e_mlp", "e_few"),)),
    Claim("E: is a small CNN better than the MLP?", (("e_cnn", "e_mlp"),), seconds=True),
    Claim("E: is He-normal better than Xavier-uniform?", (("e_init_he", "e_init_xavier"),), seconds=True),
    Claim("E: is Xavier-uniform better than uniform [0, 1)?", (("e_init_xavier", "e_init_uniform"),), seconds=True),
)

"""Members come and go; none sees another."""

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

from lightsweep.core.errors import ConfigError
from lightsweep.population.step import clip_rows
from members import alone, difference, made, population, together

SGD = ("optimizer=sgd", "optimizer.lr=0.02", "model.bn=true", "model.dropout=0.1")
ADAMW = ("optimizer=adamw", "optimizer.eps=1e-4", "optimizer.lr=0.004", "scheduler=cosine", "model.dropout=0.1")


def config(base: tuple[str, ...], seed: int, epochs: int) -> tuple[str, ...]:
    return (*base, f"seed={seed}", f"trainer.max_epochs={epochs}")


@pytest.mark.parametrize("update", ["stacked", "each"])
@pytest.mark.parametrize("base", [SGD, ADAMW], ids=["sgd", "adamw"])
def test_members_that_take_a_place_are_as_in_a_run_of_their_own(base: tuple[str, ...], update: str) -> None:
    """Two places, each of which has three members one after the other; they end after 1, 2 and 3 epochs."""
    waiting = [config(base, seed, epochs) for seed, epochs in enumerate((1, 3, 2, 2, 1, 3))]
    pool = population(made(*waiting[0]), places=2, update=update)
    running, differences = {}, []
    while waiting or running:
        while waiting and len(running) < 2:
            overrides = waiting.pop(0)
            running[pool.add(made(*overrides).spec)] = overrides
        for member, record in pool.train_epoch().items():
            epochs = int(running[member][-1].partition("=")[2])
            rows, net = alone(running[member], epochs)
            differences.append(difference(record, rows))
            if member.epochs == epochs:
                torch.testing.assert_close(dict(member.current()), dict(net.net.state_dict()), rtol=1e-4, atol=1e-5)
                pool.remove(member)
                del running[member]
    assert len(differences) == 12
    assert max(differences) < 1e-5


def test_kept_weights_are_those_of_the_epoch_and_follow_a_member_to_another_place() -> None:
    each = [made(*config(SGD, seed, 3)) for seed in (1, 2)]
    pool = population(each[0], places=2)
    leaving, staying = (pool.add(one.spec) for one in each)
    pool.train_epoch()
    staying.keep()
    best = staying.current()
    pool.remove(leaving)
    pool.train_epoch()
    for name, tensor in staying.kept().items():
        assert torch.equal(tensor, best[name])
    assert not torch.equal(staying.current()["head.weight"], best["head.weight"])


@pytest.mark.parametrize("update", ["stacked", "each"])
def test_a_member_that_diverges_changes_no_bit_of_another(update: str) -> None:
    good = [(*SGD, "trainer.gradient_clip_val=1.0", f"seed={seed}") for seed in (1, 2)]
    calm, wild = ((*SGD, "seed=3", f"optimizer.lr={rate}", "loss.l2=0.01") for rate in ("0.01", "1e30"))
    results = [together([good[0], third, good[1]], 3, update) for third in (calm, wild)]
    (one, first), (other, second) = results
    assert not torch.isfinite(torch.tensor(second[1][-1].measured["train/loss"]))
    for index in (0, 2):
        assert [record.measured for record in first[index]] == [record.measured for record in second[index]]
        pairs = zip(one[index].current().values(), other[index].current().values(), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)


def test_logits_are_those_of_vmap_over_the_networks() -> None:
    each = [made(*SGD, "model.activation=gelu", f"seed={seed}") for seed in (1, 2, 3)]
    pool = population(each[0], places=3)
    nets = [one.spec.classifier.net.eval() for one in each]
    for one in each:
        pool.add(one.spec)
    images = torch.randn(3, 5, 1, 8, 8)
    expected = vmap(lambda state, batch: functional_call(nets[0], state, batch))(
        {name: tensor for part in stack_module_state(nets) for name, tensor in part.items()}, images
    )
    torch.testing.assert_close(pool.evaluate(images), expected)


def test_a_batch_of_one_image_is_refused_with_batchnorm() -> None:
    each = made(*SGD, "data.batch_size=1")
    with pytest.raises(ConfigError, match=r"data.batch_size=1 leaves a batch of one image"):
        population(each, places=2)


def test_bf16_is_as_close_as_its_precision() -> None:
    configs = [(*SGD, "trainer.precision=bf16-mixed", f"seed={seed}") for seed in (1, 2)]
    _, records = together(configs, epochs=2)
    for overrides, own in zip(configs, records, strict=True):
        rows, _ = alone(overrides, epochs=2)
        assert max(abs(record.measured["val/loss"] - rows[i]["val/loss"]) for i, record in enumerate(own)) < 2e-2
    plain = together([configs[0][:-2] + configs[0][-1:]], epochs=2)[1][0]
    assert plain[-1].measured["val/loss"] != records[0][-1].measured["val/loss"]


def test_a_norm_without_bound_changes_nothing_of_a_member_that_is_not_clipped() -> None:
    gradients = torch.tensor([[3.0, 4.0], [3e30, 4e30]])
    clip_rows(gradients, torch.tensor([1.0, torch.inf]))
    assert gradients[0].norm().item() == pytest.approx(1.0, abs=1e-5)
    assert gradients[1].tolist() == torch.tensor([3e30, 4e30]).tolist()

"""What callbacks show of the network itself."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lightsweep.training import loggers


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch.jit.trace, which TensorBoard's writer uses
def test_the_graph_is_that_of_a_network_also_where_it_is_compiled(monkeypatch) -> None:
    traced = []
    tracker = SimpleNamespace(graph=lambda net, images: traced.append(torch.jit.trace(net, images)))
    monkeypatch.setattr(loggers, "_make_tracker", lambda logger: tracker)
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 3))
    net.compile()
    module = SimpleNamespace(net=net, device=torch.device("cpu"), description=SimpleNamespace(input_shape=(1, 2, 2)))
    loggers.Graph(in_trials=True).on_train_start(SimpleNamespace(is_global_zero=True, loggers=["a logger"]), module)
    assert [layer.original_name for layer in traced[0].children()] == ["Flatten", "Dropout", "Linear"]
    assert net.training


def test_a_network_that_cannot_be_copied_costs_a_warning(caplog, monkeypatch) -> None:
    class Locked(nn.Linear):
        def __deepcopy__(self, memo):
            raise TypeError("cannot pickle a lock")

    monkeypatch.setattr(loggers, "_make_tracker", lambda logger: SimpleNamespace(logger=logger, graph=None))
    module = SimpleNamespace(
        net=Locked(4, 3), device=torch.device("cpu"), description=SimpleNamespace(input_shape=(4,))
    )
    loggers.Graph(in_trials=True).on_train_start(SimpleNamespace(is_global_zero=True, loggers=["a logger"]), module)
    assert "did not take the graph (TypeError: cannot pickle a lock)" in caplog.text

"""What callbacks show of the network itself."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lightsweep.insight import layers


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch.jit.trace, which TensorBoard's writer uses
def test_the_graph_is_that_of_a_network_also_where_it_is_compiled(monkeypatch) -> None:
    traced = []
    shown = SimpleNamespace(graph=lambda net, images: traced.append(torch.jit.trace(net, images)))
    monkeypatch.setattr(layers, "Trackers", lambda loggers: shown)
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 3))
    net.compile()
    module = SimpleNamespace(net=net, device=torch.device("cpu"), description=SimpleNamespace(input_shape=(1, 2, 2)))
    layers.Graph(in_trials=True).on_train_start(SimpleNamespace(is_global_zero=True, loggers=[]), module)
    assert [layer.original_name for layer in traced[0].children()] == ["Flatten", "Dropout", "Linear"]
    assert net.training

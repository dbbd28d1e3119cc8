"""The bare loop: images in one tensor on the device, plain AdamW, and nothing that measures or logs."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.clock import now
from benchmarks.setting import BATCH_SIZE, DROPOUT, HIDDEN, LEARNING_RATE, Setting
from lightsweep.data.module import ImageDataModule


def net() -> nn.Module:
    """The MLP, as one writes it by hand."""
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = 3 * 32 * 32
    for units in HIDDEN:
        layers += [nn.Linear(inputs, units), nn.BatchNorm1d(units), nn.ReLU(), nn.Dropout(DROPOUT)]
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, 10))


def an_epoch(setting: Setting, data: ImageDataModule) -> float:
    """Seconds of an epoch, the mean over a fresh network's."""
    device = torch.device(setting.device)
    loader = data.train_loader(device)  # for its tensors only
    images, targets = loader.store  # uint8 [N, 3, 32, 32], int64 [N]
    model = net().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    mixed = torch.autocast(setting.device, torch.bfloat16, enabled=setting.precision == "bf16-mixed")
    started = now(setting.device)
    for _ in range(setting.epochs):
        order = loader.indices[torch.randperm(len(loader.indices)).to(device)]
        for chosen in order.split(BATCH_SIZE)[: len(order) // BATCH_SIZE]:
            inputs = (images[chosen].float() - 127.5) / 127.5
            with mixed:
                loss = F.cross_entropy(model(inputs), targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return (now(setting.device) - started) / setting.epochs

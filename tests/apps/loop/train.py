"""A plain PyTorch loop: a small network learns the sign of a product, and reports its accuracy after each epoch."""

import hydra
import torch
from omegaconf import DictConfig
from torch import nn

import lightsweep


def make_data(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))
    return inputs, (inputs[:, 0] * inputs[:, 1] > 0).long()


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg: DictConfig) -> dict[str, float]:
    torch.manual_seed(cfg.seed)
    torch.set_num_threads(1)
    trial = lightsweep.current_trial()
    (inputs, labels), (val_inputs, val_labels) = make_data(2000, 0), make_data(500, 1)
    net = nn.Sequential(nn.Linear(8, cfg.width), nn.ReLU(), nn.Dropout(cfg.dropout), nn.Linear(cfg.width, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=cfg.lr)
    accuracy = loss = 0.0
    for epoch in range(1, cfg.epochs + 1):
        net.train()
        for batch in torch.randperm(len(inputs)).split(50):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(inputs[batch]), labels[batch]).backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            logits = net(val_inputs)
        loss = nn.functional.cross_entropy(logits, val_labels).item()
        accuracy = (logits.argmax(1) == val_labels).float().mean().item()
        trial.record({"val/loss": loss, "epochs": epoch})
        trial.report(accuracy, step=epoch)
    return {"val/acc": accuracy, "val/loss": loss}


if __name__ == "__main__":
    main()

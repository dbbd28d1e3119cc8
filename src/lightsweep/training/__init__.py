"""From a network and data to a trained network: the LightningModule, callbacks, loggers, checkpoints, schedules.

Takes plain values and config nodes; gives trained weights and scores. Imports `nets`, `data`, `runs`, `config`, `core`.
"""

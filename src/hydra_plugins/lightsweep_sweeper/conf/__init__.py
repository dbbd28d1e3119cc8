"""Configs of the sweeper, which Hydra finds in every app: ``hydra/sweeper=lightsweep``."""

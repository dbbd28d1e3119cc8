"""From disk to a normalised batch on the device.

It takes a data set's settings (the config's node data) and gives a LightningDataModule: images ``uint8 [N, C, H, W]``
and labels ``int64 [N]``, split, augmented and normalised by its loaders one batch at a time. `decode` and
`folders` import neither torch nor Lightning.
"""

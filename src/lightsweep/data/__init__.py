"""From disk to a normalised batch on the device: files -> uint8 [N, C, H, W] and int64 [N] -> TensorLoader."""

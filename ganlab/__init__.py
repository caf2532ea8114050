"""ganlab: distributed training of large image GANs."""

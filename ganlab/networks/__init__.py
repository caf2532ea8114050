"""One file per architecture: blocks, generator, discriminator and their initialisation; no training code."""

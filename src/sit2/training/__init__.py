"""How to train: the only loop, augmentation, backbones, checkpoints."""

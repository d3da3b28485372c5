"""The folders of sweeps, trials and checkpoints: this package alone knows what is in them."""

"""Where results are kept: the folders of sweeps, stages and trials, here or on remote storage."""

"""Storage of results: the folders of sweeps, stages and trials, on this machine or on remote storage."""

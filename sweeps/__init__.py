"""Sweeps of beta-VAEs with Ray Tune: commands, options, search, storage and loggers."""

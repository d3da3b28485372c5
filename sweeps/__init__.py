"""Sweeps of beta-VAEs with Ray Tune: the command line and all that knows Ray."""

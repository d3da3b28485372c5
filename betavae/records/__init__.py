"""The folder contract: what a sweep, a trial and a checkpoint leave on disk, read and written here alone."""

"""The search: which trials a sweep runs, in which order, and which of them are stopped early."""

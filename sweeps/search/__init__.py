"""Which trials are tried, in which order, and which are stopped early."""

"""What a person sees of a sweep that runs: the terminal and TensorBoard."""

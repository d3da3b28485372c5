"""What a sweep can be asked for: options, presets, the command line and files of options."""

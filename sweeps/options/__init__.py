"""The options of a sweep: from presets, configuration files and the command line."""

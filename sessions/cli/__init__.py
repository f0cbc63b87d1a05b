"""The command line: ``sessions``."""

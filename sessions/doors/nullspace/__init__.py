"""Nullspace: machines and their processes, as its SDK and its command line speak of them."""

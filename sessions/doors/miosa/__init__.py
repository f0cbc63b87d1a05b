"""Miosa: computers and sandboxes, as its SDK speaks of them."""

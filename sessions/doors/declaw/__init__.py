"""Declaw: sandboxes and their commands, as its SDKs speak of them."""

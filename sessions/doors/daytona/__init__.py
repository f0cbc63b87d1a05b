"""Daytona: sandboxes, sessions and terminals, as its SDKs speak of them."""

"""The doors on sockets: who may come in, and what becomes of them when it ends."""

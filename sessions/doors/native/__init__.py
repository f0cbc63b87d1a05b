"""Our own dialect: every verb of the engine, over HTTP."""

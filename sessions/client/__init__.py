"""The engine's verbs over HTTP."""

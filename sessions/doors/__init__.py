"""HTTP dialects over the engine. None knows another."""

"""Speed and size of the engine, each figure beside a peer's from the same run. ``python -m benchmarks``."""

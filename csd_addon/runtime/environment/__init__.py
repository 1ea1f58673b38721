"""The private Python environment of the worker: planned, made, found, removed."""

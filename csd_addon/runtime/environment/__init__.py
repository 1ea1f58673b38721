"""The worker's Python environment: planned (`planning`), made (`venv`), found and removed (`installed`)."""

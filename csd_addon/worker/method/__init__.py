"""The loop, its guides and its movers."""

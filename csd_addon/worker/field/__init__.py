"""Colour as a function of the surface point: what a job optimises."""

"""What this machine offers, and what is wrong with it."""

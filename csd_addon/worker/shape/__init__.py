"""What is optimised, and what views show of it."""

"""One job from its folder to its result."""

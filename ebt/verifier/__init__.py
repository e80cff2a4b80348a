"""A residual energy over whole answers."""

"""One energy for a whole answer."""

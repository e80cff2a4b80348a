"""Numbers in, numbers out: intervals, fits, corrections."""

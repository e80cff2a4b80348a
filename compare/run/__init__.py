"""Running cells: a plan to records."""

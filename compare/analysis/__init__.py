"""Records to findings: one folder a question."""

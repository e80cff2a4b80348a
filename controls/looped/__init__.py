"""The same blocks applied again."""

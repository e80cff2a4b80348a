"""The next token from the last one alone."""

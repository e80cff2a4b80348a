"""The harness: trains every arm on equal compute and says what the records support."""

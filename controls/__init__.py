"""Arms with neither energy nor reward."""

"""What is to be run: an experiment's file to cells."""

"""What the models see, the same code offline and online."""

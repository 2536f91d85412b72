"""Where the rows of embedding tables are, and how they learn, while a model is in training."""

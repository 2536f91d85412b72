"""Examples to bundle, on Ray Train."""

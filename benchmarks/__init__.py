"""Side-by-side measurements with committed results."""

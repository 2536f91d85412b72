"""Request to ranked items, on Ray Serve."""

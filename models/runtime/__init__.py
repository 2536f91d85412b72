"""How a bundle's programs run: as they were exported, or compiled for this host."""

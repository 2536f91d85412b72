"""Plain torch modules shared by training and serving, and the bundle."""

"""Several bundles beside each other: which of them answers, and how another one takes over."""

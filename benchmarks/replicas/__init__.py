"""How replicas come up, and what they take."""

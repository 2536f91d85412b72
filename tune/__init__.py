"""Many trainings to the best config, on Ray Tune."""

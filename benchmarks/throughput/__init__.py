"""The parts of the training throughput benchmark: rivals, ours, the limit, and their rounds."""

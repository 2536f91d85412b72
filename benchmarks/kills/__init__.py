"""The parts of the benchmark that kills what a service consists of."""

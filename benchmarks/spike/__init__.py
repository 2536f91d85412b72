"""Parts of `benchmarks.serve_spike`."""

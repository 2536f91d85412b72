"""Parts of `benchmarks.serve_switch`."""

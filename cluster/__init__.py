"""Where it all runs: configuration, storage, the Ray session, jobs."""

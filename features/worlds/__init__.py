"""The parts of the synthetic world: topics, items, users, policy, requests and feedback."""

"""A service under mixed traffic for a long time: what it is sent, and what its processes take."""

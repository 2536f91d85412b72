"""The month in which the synthetic world is observed."""

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
DAYS = 30
END_MS = 1_743_379_200_000
"""2025-03-31T00:00:00Z"""
START_MS = END_MS - DAYS * DAY_MS

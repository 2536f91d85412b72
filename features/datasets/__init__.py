"""Adapters from raw data to the canonical tables."""

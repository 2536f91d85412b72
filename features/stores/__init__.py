"""Online feature stores: one record per user."""

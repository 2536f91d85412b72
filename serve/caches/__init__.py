"""What need not be computed twice, as long as nothing that it depends on has changed."""

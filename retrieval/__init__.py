"""Bundle and catalogue to index to candidates."""

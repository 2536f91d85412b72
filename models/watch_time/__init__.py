"""How long a user will watch: outputs of the ranker, their loss, and the seconds they mean."""

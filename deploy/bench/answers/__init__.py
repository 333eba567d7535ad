"""``make bench-answers``: how well questions of real corpora are found, and answered."""

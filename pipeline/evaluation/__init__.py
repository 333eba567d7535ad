"""``albeam evaluate`` and ``compare``."""

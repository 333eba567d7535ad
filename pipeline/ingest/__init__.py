"""``albeam embed``, ``plan`` and ``watch``."""

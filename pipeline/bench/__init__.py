"""``albeam bench``."""

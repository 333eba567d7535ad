"""``albeam bundle``."""

"""``albeam search``."""

"""``albeam compress`` and its kin."""

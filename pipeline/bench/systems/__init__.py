"""The systems that ``albeam bench`` compares."""

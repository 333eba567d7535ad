"""The command ``albeam bench``."""

"""The commands ``albeam classify``, ``evaluate-task`` and ``predict``."""

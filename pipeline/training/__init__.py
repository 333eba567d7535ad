"""``albeam distill`` and ``finetune``."""

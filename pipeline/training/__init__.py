"""The commands ``albeam distill`` and ``albeam finetune``."""

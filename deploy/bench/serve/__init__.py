"""The benchmark of ``albeam serve``: a load from another process, and a long one with mishaps."""

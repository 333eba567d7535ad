"""What a head reaches on known rows, with intervals, and its report page."""

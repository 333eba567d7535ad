"""The rows of a task: labels, tags, and changed copies of texts."""

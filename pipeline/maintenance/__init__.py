"""Commands that change or check a store without embedding."""

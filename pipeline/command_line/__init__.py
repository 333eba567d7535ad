"""What all commands share: arguments, argument types, console."""

"""What a package does for the program, for those who have a wheel: unit, user, completions."""

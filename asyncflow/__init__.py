"""asyncflow."""

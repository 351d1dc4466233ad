"""Scripts that make what the project ships; not part of the package."""

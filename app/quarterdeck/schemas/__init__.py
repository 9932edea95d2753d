"""The types that cross the HTTP boundary: what the core answers and what the window and command line read."""

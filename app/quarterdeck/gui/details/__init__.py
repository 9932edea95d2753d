"""The details panel of one model and its tabs."""

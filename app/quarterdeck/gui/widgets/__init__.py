"""Widgets that more than one page can use."""

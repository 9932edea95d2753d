"""Declared against running: configuration files, their state, their faults, and plans that change them."""

"""Dialogs; all are opened and awaited, none runs a nested loop."""

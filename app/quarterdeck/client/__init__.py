"""The typed client of the control API, used by the window and the command line."""

"""What is wrong now, and the changes that mend it: problems from everywhere, fixes with preview and undo."""

"""Known incompatibilities between services and models: the entries, where they fit, and a person's own pages."""

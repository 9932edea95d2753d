"""The status report and its checklist."""

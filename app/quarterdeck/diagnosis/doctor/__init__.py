"""The connectivity doctor: goes along a connection step by step and says what is wrong, and what to do."""

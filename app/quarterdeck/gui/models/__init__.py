"""Qt item models over the state that the store holds."""

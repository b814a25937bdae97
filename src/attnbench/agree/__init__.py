"""Agreement: when an implementation is right. Every implementation is held to the float64 oracle, never to another."""

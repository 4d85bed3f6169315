"""smegd: the daemon that wires the rooms together."""

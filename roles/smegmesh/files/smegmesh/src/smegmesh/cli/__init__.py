"""smegctl, the command line."""

"""What may be wrong with a host and its meshes: facts -> findings. Pure; `cli` gathers the facts."""

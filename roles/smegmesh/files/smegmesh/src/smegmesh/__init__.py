"""smegmesh: WireGuard meshes that configure and heal themselves."""

__version__ = "0.2.0"

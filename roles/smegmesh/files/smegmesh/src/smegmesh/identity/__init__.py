"""Keys, certificates, mesh and node addresses.

The controller's action plugin loads this package from the role's files: it
imports the standard library and cryptography, nothing else.
"""

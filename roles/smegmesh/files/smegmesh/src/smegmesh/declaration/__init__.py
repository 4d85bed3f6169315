"""Declarations: files -> checked, immutable values, and the one way to write them."""

from smegmesh.declaration.choose import choose_ports, default_interface
from smegmesh.declaration.errors import DeclarationError
from smegmesh.declaration.meshes import Loaded, MeshError, load_meshes, read_meshes
from smegmesh.declaration.parse import load_agent
from smegmesh.declaration.values import (
    HOOKS,
    AgentSettings,
    Bootstrap,
    Declaration,
    DnsSettings,
    EndpointDiscovery,
    Fragment,
    Health,
    Hook,
    HostPort,
    Prefix,
    Service,
    StaticPeer,
)

__all__ = [
    "HOOKS",
    "AgentSettings",
    "Bootstrap",
    "Declaration",
    "DeclarationError",
    "DnsSettings",
    "EndpointDiscovery",
    "Fragment",
    "Health",
    "Hook",
    "HostPort",
    "Loaded",
    "MeshError",
    "Prefix",
    "Service",
    "StaticPeer",
    "choose_ports",
    "default_interface",
    "load_agent",
    "load_meshes",
    "read_meshes",
]

"""A graph as text for Graphviz. Pure."""

from __future__ import annotations

from smegmesh.control.types import Graph, GraphNode

_SHAPES = {"peer": "box", "client": "ellipse", "mesh": "doubleoctagon", "prefix": "note"}
_COLOURS = {"alive": "black", "mute": "orange", "down": "red"}
_STYLES = {"ring": "dir=none, color=gray", "backup": "style=dashed", "home": "", "bridge": "", "exit": ""}


def dot(graph: Graph) -> str:
    """The graph in the DOT language; a client of `dot`, `sfdp` or `neato` makes a picture of it."""
    lines = [f"digraph {_quoted(graph.mesh)} {{", "  overlap=false;"]
    lines += [f"  {_quoted(node.id)} [{_look(node)}];" for node in graph.nodes]
    for edge in graph.edges:
        style = f" [{_STYLES[edge.kind]}]" if _STYLES[edge.kind] else ""
        lines.append(f"  {_quoted(edge.source)} -> {_quoted(edge.target)}{style};")
    return "\n".join([*lines, "}", ""])


def _look(node: GraphNode) -> str:
    name = f"{node.name} (leader)" if node.leader else node.name
    look = [f"label={_quoted(name)}", f"shape={_SHAPES[node.kind]}"]
    if node.liveness is not None:
        look.append(f"color={_COLOURS[node.liveness]}")
    if node.own:
        look.append("penwidth=3")
    return ", ".join(look)


def _quoted(text: str) -> str:
    """What others say of themselves goes in here: nothing of it may end the text, or be an escape."""
    plain = "".join(character if character.isprintable() else "?" for character in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'

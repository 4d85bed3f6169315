"""What may be wrong with bytes from a network, each in one word for counters."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Fault: TypeAlias = Literal[
    "truncated",  # ends too early, or declares more than there is
    "malformed",  # no MessagePack, not the canonical one, or more than one value
    "depth",  # nested too deep
    "type",  # a value of another type, or beyond the limits of its field
    "oversize",  # longer than it may be as a whole
    "hello",  # before the hello, or a second one
    "mesh",  # of another mesh
    "digest",  # no prefix of the digest tree, or items that are not under theirs
    "certificate",  # a certificate that is none, or not the one that a record is signed under
    "grant",  # more than the certificate grants
    "signature",  # not by whom it says
    "body",  # not the one that was signed
    "content",  # signed, but not what it may say
]


def unpack_fault(error: Exception) -> Fault:
    """What msgspec or the interpreter refused MessagePack for."""
    if isinstance(error, RecursionError):
        return "depth"
    if isinstance(error, msgspec.ValidationError):
        return "type"
    # msgspec has one exception for the rest and no code in it.
    return "truncated" if "truncated" in str(error) else "malformed"

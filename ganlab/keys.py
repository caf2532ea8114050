"""Hash keys of names and numbers: every random number is a function of one."""

import hashlib


def key(*parts: int | str) -> int:
    """Hash a name and its numbers to 63 bits."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1

"""Keep record identities unique inside one file, in 16 to 32 bytes a record.

Identities that are missing or that were seen already are told apart by the offset of the record. What was seen is kept
as 64-bit hashes in an open-addressed table: two different identities of one file meet with probability n**2 / 2**65,
and then the later one only gets its offset appended.
"""

from __future__ import annotations

from array import array
from hashlib import blake2b

_FREE = 0


class UniqueIds:
    """The identities that one file has used so far."""

    def __init__(self) -> None:
        self._slots = array("Q", [_FREE]) * 1024
        self._count = 0

    def claim(self, identity: str, offset: int) -> str:
        """Return `identity`, or `identity#offset` when it is empty or taken.

        Args:
            identity: what the record calls itself, or "".
            offset: where the record starts; unique inside the file.
        """
        name = identity
        repeat = 0
        while not name or not self._add(name):
            name = f"{identity}#{offset}" if repeat == 0 else f"{identity}#{offset}#{repeat}"
            repeat += 1
        return name

    def _add(self, name: str) -> bool:
        key = int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little") or 1
        if not self._put(key):
            return False
        self._count += 1
        if self._count * 2 > len(self._slots):
            old = self._slots
            self._slots = array("Q", [_FREE]) * (len(old) * 2)
            for slot in old:
                if slot != _FREE:
                    self._put(slot)
        return True

    def _put(self, key: int) -> bool:
        slots, mask = self._slots, len(self._slots) - 1
        at = key & mask
        while slots[at] != _FREE:
            if slots[at] == key:
                return False
            at = (at + 1) & mask
        slots[at] = key
        return True

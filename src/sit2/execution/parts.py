"""What every job is made of: which images it may see, and what a key is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sit2.data.pixels import PixelStore
from sit2.records import IntArray


@dataclass(frozen=True)
class Part:
    """Some labelled images of a pixel store."""

    rows: IntArray  # (n,) int64 in [0, M)
    labels: IntArray  # (n,) int64 in [0, K)
    groups: tuple[str, ...] = ()  # n names of what must stay together, or none

    @classmethod
    def empty(cls) -> Part:
        """Return no images."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.rows)

    def content(self, store: PixelStore) -> bytes:
        """Return a digest of the images and their labels, in order."""
        digest = hashlib.blake2b(repr(self.labels.tolist()).encode(), digest_size=16)
        digest.update(store.digests[self.rows].tobytes())
        return digest.digest()


def key_of(known: object, contents: Iterable[bytes]) -> str:
    """Return 40 hexadecimal digits that change with what is known and with any content."""
    digest = hashlib.blake2b(repr(known).encode(), digest_size=20)
    for content in contents:
        digest.update(content)
    return digest.hexdigest()

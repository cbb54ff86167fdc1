"""One root seed → named, independent random generators.

Every random choice in sit2 draws from a generator that is named by its purpose, for example
``seeds.integer("batches", "pretrain", 17)``. Nothing depends on what was drawn before, so work can run in
any order, in any process, or go on after a kill, and the result stays the same.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Seeds:
    """The root seed and the names that led here."""

    root: int
    path: tuple[str | int, ...] = ()

    def child(self, *names: str | int) -> Seeds:
        """Return the seeds of a part of the work, independent of every other part's."""
        return Seeds(self.root, self.path + names)

    def integer(self, *names: str | int) -> int:
        """Return a seed in [0, 2⁶³) for this purpose."""
        text = repr((self.root, *self.path, *names)).encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1

    def numpy(self, *names: str | int) -> np.random.Generator:
        """Return a NumPy generator for this purpose."""
        import numpy as np

        return np.random.default_rng(self.integer(*names))

    def sklearn(self, *names: str | int) -> int:
        """Return a seed in [0, 2³²) as scikit-learn's ``random_state`` wants it."""
        return self.integer(*names) % 2**32

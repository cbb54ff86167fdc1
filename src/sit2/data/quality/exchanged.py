"""Classes that flips or turns of their images exchange: augmentation by those would teach that they are one."""

from __future__ import annotations

from collections.abc import Sequence

from sit2.data.quality.findings import Finding
from sit2.data.words import counted, listed

KIND = "mirrored classes"


def exchanged(pairs: Sequence[tuple[str, str, str]], *, by_a_flip: bool) -> list[Finding]:
    """Say which classes are each other's mirror images, and which preset of augmentation leaves them apart.

    Args:
        pairs: two classes, and what makes their images look like the other's: "mirrored left to right".
        by_a_flip: whether some are so by a flip from left to right, the mildest that any preset does.
    """
    if not pairs:
        return []
    what = listed([f"{a} and {b} ({how})" for a, b, how in pairs])
    hint = (
        "train with --augment no-flip: flip, the default, and dihedral would show one as the other"
        if by_a_flip
        else "train with --augment flip or no-flip: dihedral would show one as the other"
    )
    number = counted(len(pairs), "pair")
    return [
        Finding(
            KIND,
            "warning" if by_a_flip else "note",
            f"{number} of classes {'looks' if len(pairs) == 1 else 'look'} alike when flipped or turned: {what}.",
            hint,
            details=tuple({"classes": [a, b], "how": how} for a, b, how in pairs),
        )
    ]

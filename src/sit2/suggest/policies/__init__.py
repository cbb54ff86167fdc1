"""Every policy of `sit2 suggest`, by name. The default is the first until another is shown to be better."""

from __future__ import annotations

from sit2.suggest.policies.confusion import by_confusion
from sit2.suggest.policies.entropy import by_entropy
from sit2.suggest.policies.margin import by_margin
from sit2.suggest.policies.policy import Policy
from sit2.suggest.policies.random import at_random

POLICIES: dict[str, Policy] = {
    "random": at_random,
    "margin": by_margin,
    "entropy": by_entropy,
    "confusion": by_confusion,
}

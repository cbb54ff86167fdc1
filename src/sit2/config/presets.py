"""Presets of settings, for who does not want to choose: from seconds to an hour. Single settings win over them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

BALANCED = "balanced"
# docs/presets.md has what each one takes and reaches.
PRESETS_OF_SETTINGS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "quick": {"method": "linear+tta+ensemble+temperature"},
        BALANCED: {},
        "best": {"method": "plain*4+tta+ensemble+temperature", "image_size": 128},
    }
)

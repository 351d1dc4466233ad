"""Remedies: what could be done to a node, as configurations with a price.

Pure: a model and statistics of its data in, remedies out. Measuring them is the analyses' part.
"""

from hmct_track.remedies.candidates import Material, material_of, remedies_of
from hmct_track.remedies.remedy import (
    FREE,
    PRESETS,
    Family,
    Price,
    Remedy,
    allowed_families,
)

__all__ = [
    "FREE",
    "PRESETS",
    "Family",
    "Material",
    "Price",
    "Remedy",
    "allowed_families",
    "material_of",
    "remedies_of",
]

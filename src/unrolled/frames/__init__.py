"""Deep frames: structures, their dictionaries, the frame potential, its bounds and its minimum."""

from unrolled.frames.bounds import Bound
from unrolled.frames.dictionary import dictionary, random_filters
from unrolled.frames.minimum import Minimum, lower_bound, minimum_potential
from unrolled.frames.overlap import overlap_count
from unrolled.frames.potential import Potential, frame_potential, mutual_coherence
from unrolled.frames.structure import KINDS, Block, Structure, StructureError, build, parse_numbers, resnet

__all__ = [
    "KINDS",
    "Block",
    "Bound",
    "Minimum",
    "Potential",
    "Structure",
    "StructureError",
    "build",
    "dictionary",
    "frame_potential",
    "lower_bound",
    "minimum_potential",
    "mutual_coherence",
    "overlap_count",
    "parse_numbers",
    "random_filters",
    "resnet",
]

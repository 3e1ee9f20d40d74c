"""A testbed for theories of why deep architectures work: networks as unrolled iterations.

Four words carry the code: *energy* (what is minimised), *solver* (how), *frame* (the representation)
and *trajectory* (the path of iterates). See ``docs/design.md`` for the rooms and how data flows.
"""

import os

__version__ = "0.1.0"

# MKL chooses its kernels by shape, alignment and threads, which would let the size of a pack leak into a trial's last
# bits; without STRICT a pack of one still differs. It reads this before its first product; a user's value stays.
os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")

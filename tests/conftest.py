import os
import signal
from collections.abc import Iterator

if "PYTEST_XDIST_WORKER" in os.environ:
    # Tests run beside each other: threads that wait for work must sleep and not spin. Before NumPy and torch load.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
import torch

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in the background of a shell; tests of Ctrl-C need it, in this process and in those that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors of tests are so small that torch's threads would only wait for each other, the longer the busier."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

"""Worker processes for packs that compute on one core, so that several run at once.

A worker computes and nothing else: it is handed a task and configs, and answers with metrics. Claims, records and
checkpoints that have served remain with the process that started it. Each worker has a pipe of its own, so that one
that dies takes no other's pack with it; a pool of :mod:`concurrent.futures` gives up all of them.
"""

from __future__ import annotations

import math
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

import torch

from unrolled.config.check import Flat
from unrolled.sweep.task import Metrics, RunContext, Task
from unrolled.sweep.todo import RunSettings
from unrolled.sweep.trial import Pack

WORTH_SECONDS = 30.0
"""Expected work from which on workers are started unasked: each takes four to eight seconds of a core to start."""

GRACE_SECONDS = 20.0
"""Time in which workers save their checkpoints after an interrupt; batch systems kill some 30 s after a signal."""

INTERRUPTED = 130
"""Exit status of a worker that was interrupted, as shells have it."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# The signals come first: an interrupt from the terminal reaches workers that are still importing, too.
_START = (
    "import signal, sys; [signal.signal(s, signal.SIG_IGN) for s in (signal.SIGINT, signal.SIGTERM)]; "
    "from unrolled.sweep.workers import serve; serve(int(sys.argv[1]))"
)


@dataclass(frozen=True)
class Outcome:
    """What became of a pack.

    Args:
        results: metrics of each trial, in order; empty after an error.
        error: what was raised, in one line, or None.
        seconds: wall time of the computation.
    """

    results: list[Metrics]
    error: str | None
    seconds: float


def compute(task: Task, configs: Sequence[Flat], context: RunContext) -> Outcome:
    """Run a pack in this process; what it raises becomes its outcome."""
    began = time.monotonic()
    try:
        results = task.run(configs, context)
    except Exception as error:  # one broken pack must not cost the others; the row, the table and the exit code tell
        return Outcome([], f"{type(error).__name__}: {error}", time.monotonic() - began)
    return Outcome(results, None, time.monotonic() - began)


def worker_count(packs: Sequence[Pack], settings: RunSettings, seconds: Mapping[str, float]) -> int:
    """Return how many processes run the packs that compute on one core; 1 is this process itself.

    Args:
        packs: what is to run.
        settings: ``workers`` is obeyed, but for more workers than packs; None asks for as many as there are cores,
            where the work is worth it and is not done by another device.
        seconds: expected work by task; a task without a number counts as nothing.
    """
    alone = [pack.trials[0].task.name for pack in packs if pack.trials[0].task.cores == "one"]
    if settings.workers is not None:
        return max(1, min(settings.workers, len(alone)))
    work = sum(seconds.get(name, 0.0) for name in set(alone))
    if settings.device != "cpu" or math.isnan(work) or work < WORTH_SECONDS:
        return 1
    return max(1, min(len(os.sched_getaffinity(0)) // (settings.threads or 1), len(alone)))


class Workers:
    """Worker processes, started when there is a pack for them, and kept for the next one.

    Args:
        most: workers at once.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._workers: list[_Worker] = []
        self._inbox: queue.SimpleQueue[tuple[_Worker, str, Any]] = queue.SimpleQueue()
        self._stopping = False

    @property
    def busy(self) -> int:
        """Packs that are running."""
        return sum(worker.pack is not None for worker in self._workers)

    @property
    def has_room(self) -> bool:
        """Whether another pack can start now."""
        return self.busy < self.most

    def start(self, pack: str, task: Task, configs: Sequence[Flat], context: RunContext) -> None:
        """Hand a pack to a worker.

        Args:
            pack: names it when it ends.
            task: what computes it; of a class that can be imported.
            configs: of its trials.
            context: how; progress is told by :meth:`wait`.
        """
        free = [worker for worker in self._workers if worker.pack is None and worker.process.poll() is None]
        if not free:
            free = [_Worker(self._inbox)]
            self._workers += free
        free[0].start(pack, task, configs, context)

    def wait(self, timeout: float | None = None) -> tuple[str, Outcome] | None:
        """Wait until a pack ends, telling progress and warnings meanwhile.

        Args:
            timeout: seconds, or None for as long as it takes.

        Returns:
            The pack's name and what became of it; None if the time is over or nothing runs.

        Raises:
            KeyboardInterrupt: a worker was interrupted, as happens when a signal is sent to all processes of a job.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.busy:
            try:
                message = self._inbox.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return None
            if (ended := self._handle(*message)) is not None:
                return ended
        return None

    def _handle(self, worker: _Worker, kind: str, content: Any) -> tuple[str, Outcome] | None:
        pack = worker.pack
        if kind == "ready":
            worker.ready = True
        elif kind == "progress":
            worker.on_progress(content)
        elif kind == "warning":
            text, category = content
            warnings.warn(text, category, stacklevel=4)
        elif kind == "ended" and pack is not None:
            worker.pack = None
            return pack, content
        elif kind == "gone":
            self._workers.remove(worker)
            if pack is None or self._stopping:
                return None
            if content == INTERRUPTED:
                raise KeyboardInterrupt
            return pack, Outcome([], _death(content), time.monotonic() - worker.began)
        return None

    def stop(self) -> list[tuple[str, Outcome]]:
        """Interrupt what is running, give it time to save its checkpoints, and end all workers.

        Returns:
            Packs that ended all the same. Those that were interrupted are not among them.
        """
        self._stopping, found = True, []
        while (ended := self.wait(0.0)) is not None:  # also learns who is ready
            found.append(ended)
        for worker in self._workers:
            if worker.pack is not None and worker.ready:
                worker.process.send_signal(signal.SIGINT)
            else:  # still importing, or idle: nothing to save
                worker.process.kill()
        deadline = time.monotonic() + GRACE_SECONDS
        while self.busy and (left := deadline - time.monotonic()) > 0:
            if (ended := self.wait(left)) is not None:
                found.append(ended)
        self.close()
        return found

    def close(self) -> None:
        """End all workers at once."""
        for worker in self._workers:
            worker.process.kill()
            worker.process.wait()
        self._workers = []


class _Worker:
    """One worker process, as seen from the process that started it."""

    def __init__(self, inbox: queue.SimpleQueue[tuple[_Worker, str, Any]]) -> None:
        self.pack: str | None = None
        self.ready, self.began = False, time.monotonic()
        self.on_progress: Callable[[float], None] = lambda share: None
        self.connection, theirs = Pipe()
        with theirs:
            # Not a fork: neither torch's nor the kernel's threads would survive it. What can be imported here can be
            # imported there, and the script that runs here is not run again.
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-c", _START, str(theirs.fileno())],
                stdin=subprocess.PIPE,  # ends with this process, see _end_with_parent
                pass_fds=[theirs.fileno()],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
            )
        # A thread reads, as an interrupt of the main thread cannot cut its messages in two.
        threading.Thread(target=self._listen, args=(inbox,), daemon=True).start()

    def start(self, pack: str, task: Task, configs: Sequence[Flat], context: RunContext) -> None:
        self.pack, self.on_progress, self.began = pack, context.on_progress, time.monotonic()
        how = {f.name: getattr(context, f.name) for f in fields(context) if f.name != "on_progress"}
        with suppress(BrokenPipeError):  # it has just died, as its listener will tell
            self.connection.send((task, list(configs), how))

    def _listen(self, inbox: queue.SimpleQueue[tuple[_Worker, str, Any]]) -> None:
        try:
            while True:
                kind, content = self.connection.recv()
                inbox.put((self, kind, content))
        except (EOFError, OSError):
            pass
        except Exception as error:  # an answer that cannot be read here: nobody would learn of what follows
            warnings.warn(f"a worker's answer cannot be read: {error}", stacklevel=1)
            self.process.kill()
        inbox.put((self, "gone", self.process.wait()))
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.connection.close()


def _death(status: int) -> str:
    how = f"ended with status {status}"
    if status < 0:
        how = f"was killed by {signal.Signals(-status).name}"
    if status == -signal.SIGKILL:
        how += ", as the system does when memory runs out"
    return (
        f"WorkerDied: the process that ran this pack {how}; run.workers=1 runs packs one after another, without others"
    )


def serve(descriptor: int) -> None:
    """Compute packs until the process that started this one ends, or an interrupt comes.

    Args:
        descriptor: this end of the pipe.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    connection = Connection(descriptor)

    def tell(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
    ) -> None:
        connection.send(("warning", (str(message), category)))

    warnings.showwarning = tell
    try:
        _on_signals(_interrupt)
        connection.send(("ready", None))
        while True:
            outcome = _answer(connection.recv_bytes(), lambda share: connection.send(("progress", share)))
            _on_signals(signal.SIG_IGN)  # an outcome is sent whole
            connection.send(("ended", outcome))
            _on_signals(_interrupt)
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)
    except (EOFError, OSError):
        os._exit(1)


def _answer(message: bytes, on_progress: Callable[[float], None]) -> Outcome:
    try:
        task, configs, how = pickle.loads(message)
    except Exception as error:  # its class cannot be imported here, whatever that raises
        return Outcome([], f"{type(error).__name__}: {error}; a task of a worker is of a class in a module", 0.0)
    context = RunContext(**how)
    torch.set_num_threads(context.threads or 1)
    return compute(task, configs, replace(context, on_progress=on_progress))


def _on_signals(handler: Any) -> None:
    for number in _SIGNALS:
        signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Interrupt once: the same Ctrl-C may come from the terminal and from the parent, and a checkpoint is written."""
    _on_signals(signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    """End this process as soon as the other end of its standard input is gone, however the parent ended."""
    os.read(0, 1)
    os._exit(1)

"""The registry of what computes trials."""

from __future__ import annotations

from unrolled.sweep.frames_tasks import ClassifyTask
from unrolled.sweep.hybrid_task import HybridTask
from unrolled.sweep.minimum_task import MinimumTask
from unrolled.sweep.reasoning_tasks import FitTask, PropertiesTask
from unrolled.sweep.task import Metrics, RunContext, Task

__all__ = [
    "TASKS",
    "ClassifyTask",
    "FitTask",
    "HybridTask",
    "Metrics",
    "MinimumTask",
    "PropertiesTask",
    "RunContext",
    "Task",
]

_ALL: tuple[Task, ...] = (FitTask(), PropertiesTask(), ClassifyTask(), MinimumTask(), HybridTask())

TASKS: dict[str, Task] = {task.name: task for task in _ALL}

"""Jobs through a launcher of Hydra that this program has no executor of its own for: joblib's."""

import threading
from typing import Any

from hydra.core.plugins import Plugins

from lightsweep.sweep.assignment import Assignment, Outcome, Task
from lightsweep.sweep.executors.slot import KeptOutcome
from lightsweep.sweep.worker import Workplace


class LauncherSlot(KeptOutcome):
    """A job through a launcher of Hydra, such as submitit's: `launch` blocks, so each slot waits in a thread.

    Args:
        function: the job's.
    """

    def __init__(self, place: Workplace, function: Any) -> None:
        self.place, self.function = place, function
        self.thread: threading.Thread | None = None

    def start(self, assignment: Assignment) -> None:
        self.thread = threading.Thread(target=self._launch, args=(assignment,), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """The job goes on where it is; its trial is marked as interrupted all the same."""
        if self.thread is not None and self.thread.is_alive():
            self.outcome = Outcome("interrupted")

    def kill(self) -> None:
        self.stop()

    def close(self) -> None:
        """The launcher's jobs are its own."""

    def _launch(self, assignment: Assignment) -> None:
        overrides = [*assignment.overrides, f"hydra.sweep.subdir='{assignment.folder}'"]
        try:
            launcher = Plugins.instance().instantiate_launcher(
                config=self.place.config,
                hydra_context=self.place.hydra_context,
                task_function=Task(self.function, assignment),
            )
            returned = launcher.launch([overrides], initial_job_idx=assignment.number)
            self.outcome = returned[0].return_value
        except Exception as error:  # the launcher's own: a job that was cancelled, a cluster that is down
            self.outcome = Outcome("failed", error=" ".join(f"{type(error).__name__}: {error}".split()))

"""One job after the other, in this process: on an accelerator, on one core, and in tests."""

from __future__ import annotations

from concurrent.futures import Future

from sit2.execution.executors.executor import Executor, Result, Runnable


class SerialExecutor(Executor):
    """Runs a job when it is submitted."""

    @property
    def workers(self) -> int:
        """Return 1."""
        return 1

    def submit(self, job: Runnable[Result]) -> Future[Result]:
        """Run the job now. An interruption is raised here, whatever else goes wrong when the future is asked."""
        future: Future[Result] = Future()
        try:
            future.set_result(job.run(self.listener))
        except Exception as error:
            future.set_exception(error)
        return future

"""Ends a run of Ray Train when a worker meets wrong input: a second try would meet it again."""

import ray.train

from cluster.errors import input_error_in


class WrongInputEndsTheRun(ray.train.UserCallback):  # type: ignore[misc]
    """Raises a worker's `InputError` in Ray Train's controller, which then retries nothing."""

    def after_exception(
        self,
        run_context: object,
        worker_exceptions: dict[int, Exception],
    ) -> None:
        """Raise the first one, if there is one."""
        for error in worker_exceptions.values():
            known = input_error_in(error)
            if known is not None:
                raise known

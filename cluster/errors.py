"""The error that a user can mend: one line that names the thing and its value."""


class InputError(ValueError):
    """Wrong data or a wrong state of the storage; commands print it as one line and exit 1."""


class ConfigError(InputError):
    """Wrong use: a config file, key or value; commands print it as one line and exit 2."""


def input_error_in(error: BaseException) -> InputError | None:
    """Find the `InputError` under what Ray wrapped around it, if there is one."""
    pending, seen = [error], set[int]()
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, InputError):
            return current
        pending.extend(_causes(current))
    return None


def _causes(error: BaseException) -> list[BaseException]:
    failures = getattr(error, "worker_failures", None)  # ray.train.WorkerGroupError: rank to error
    nested = list(failures.values()) if isinstance(failures, dict) else []
    nested += [getattr(error, "cause", None), error.__cause__, error.__context__]
    nested += [getattr(error, "controller_failure", None)]  # ray.train.ControllerError
    return [cause for cause in nested if isinstance(cause, BaseException)]

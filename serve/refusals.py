"""What is wrong with a request, answered in one form: problems with their fields' paths."""

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import ValidationError
from starlette import requests
from starlette.responses import JSONResponse, Response

from serve.admission import OverloadedError
from serve.messages import RequestError
from serve.withdrawals import UnknownItemError

MAX_BODY_BYTES = 2 << 20
MAX_PROBLEMS = 20
CLIENT_CLOSED_REQUEST = 499
REFUSALS: dict[int | str, dict[str, Any]] = {
    413: {"description": f"body over {MAX_BODY_BYTES} bytes"},
    422: {"description": "wrong body: the problems with their fields' paths"},
    429: {"description": "overload; Retry-After says when to come back"},
}
UNKNOWN_ITEM: dict[int | str, dict[str, Any]] = {
    404: {"description": "the catalogue has no such item"}
}
Problem = tuple[str, tuple[str | int, ...], str]
"""Kind, path and text."""


class BodyTooLargeError(Exception):
    """The body exceeds MAX_BODY_BYTES."""


class PathError(Exception):
    """The path names something in a wrong way."""

    def __init__(self, name: str, error: ValidationError) -> None:
        super().__init__(name, error)
        self.problems = _problems(error, "path", name)


async def guarded(
    handle: Callable[[requests.Request], Awaitable[Response]], request: requests.Request
) -> Response:
    """Answer a request, or say what is wrong with it."""
    try:
        return await handle(request)
    except ValidationError as error:
        return _refusal(422, _problems(error, "body"))
    except RequestError as error:
        return _refusal(422, [("value_error", ("body", *error.path), error.message)])
    except PathError as error:
        return _refusal(422, error.problems)
    except UnknownItemError as error:
        return _refusal(404, [("unknown_item", ("path", "item_id"), str(error))])
    except BodyTooLargeError:
        return _refusal(413, [("too_long", ("body",), f"body exceeds {MAX_BODY_BYTES} bytes")])
    except OverloadedError as error:
        return _overloaded(error)
    except requests.ClientDisconnect:
        return Response(status_code=CLIENT_CLOSED_REQUEST)


def _refusal(status: int, problems: list[Problem]) -> Response:
    detail = [{"type": kind, "loc": list(path), "msg": text} for kind, path, text in problems]
    return JSONResponse({"detail": detail}, status)


def _overloaded(error: OverloadedError) -> Response:
    detail = [{"type": "overload", "loc": [], "msg": f"overload: {error}"}]
    return JSONResponse({"detail": detail}, 429, {"Retry-After": str(error.retry_after_s)})


def _problems(error: ValidationError, *place: str) -> list[Problem]:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return [(p["type"], (*place, *p["loc"]), p["msg"]) for p in problems[:MAX_PROBLEMS]]

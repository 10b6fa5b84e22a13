"""What can go wrong between the controller and the API server, and what to do about each.

KubeError                 the API server's refusal, or its silence
 |- NotFound              404: the object, or its namespace or kind, is not there
 |- Conflict              409: somebody was faster; look again
 |- Expired               410: the server has forgotten the version that was asked for; list again
 |- Refused               400, 403, 405, 422, or a webhook that should have judged it does not answer: a person must look
 `- Unreachable           429, 5xx, time-outs, broken connections: try later; `retry_after` says when, where the server said so

A worker retries Conflict and Unreachable with backoff; Refused becomes a condition on the object.
"""


class KubeError(Exception):
    """One failed request: `code` is the HTTP status, 0 where none arrived."""

    def __init__(self, message: str, *, code: int, reason: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.retry_after = retry_after


class NotFound(KubeError):  # noqa: N818
    """What was asked for is not there."""


class Conflict(KubeError):  # noqa: N818
    """Somebody else wrote in between, or the name is taken."""


class Expired(KubeError):  # noqa: N818
    """What happened since that version is not known any more."""


class Refused(KubeError):  # noqa: N818
    """The request itself is wrong, or this account may not."""


class Unreachable(KubeError):  # noqa: N818
    """Nothing is wrong with the request."""


WEBHOOK = "failed calling webhook"  # a 500, and yet nothing that passes by itself


def of(code: int, message: str, *, reason: str = "", retry_after: float | None = None) -> KubeError:
    """The error of an HTTP status."""
    kind: type[KubeError] = Unreachable
    if code == 404:
        kind = NotFound
    elif code == 409:
        kind = Conflict
    elif code == 410:
        kind = Expired
    elif code in (400, 403, 405, 413, 415, 422) or WEBHOOK in message:
        kind = Refused
    return kind(message, code=code, reason=reason, retry_after=retry_after)

"""How one attempt at a call ended, and what that means for the call: the half of both clients that is not I/O.

Apart because "was it executed?" decides whether asking again is safe, and both clients must answer it alike. It must
never call a lost answer a failure: what may have been done is said to be so.
"""

from __future__ import annotations

from aion_sdk import errors, http1, result
from aion_sdk.address import Address
from aion_sdk.call import Call


class Ended(Exception):  # noqa: N818  (named for what is the matter, as are those below)
    """An attempt that brought no answer."""


class Unsent(Ended):
    """The request did not leave whole: it was not executed."""


class Untrusted(Unsent):
    """The server's certificate was refused; asking again would not help."""


class Lost(Ended):
    """The request was sent and no whole answer came."""


class Late(Ended):
    """The call's time is up."""

    def __init__(self, *, sent: bool) -> None:
        super().__init__("the call's time is up")
        self.sent = sent


class Failed(Exception):  # noqa: N818
    """One attempt's error, and whether the request may have been executed. It never leaves this package."""

    def __init__(self, error: errors.SyscallError, *, sent: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.sent = sent


def broken(error: OSError, *, sent: bool) -> Ended:
    """How an attempt ended that a socket's error cut short."""
    if isinstance(error, TimeoutError) and error.errno is None:  # ours; the kernel's own ETIMEDOUT has a number
        return Late(sent=sent)
    if verdict := getattr(error, "verify_message", ""):  # ssl.SSLCertVerificationError, without loading ssl
        return Untrusted(str(verdict))
    return (Lost if sent else Unsent)(error.strerror or str(error) or type(error).__name__)


def closed(answer: http1.Answer, error: http1.BrokenAnswer, *, sent: bool) -> Exception:
    """How an attempt ended whose answer cannot be read: where nothing came at all, it is as good as lost."""
    if answer.started:
        return error
    return (Lost if sent else Unsent)("the connection was closed")


def settle(answer: http1.Answer) -> result.Result:
    """The Result of a whole answer; raises Failed with the error it holds."""
    try:
        return result.read(answer.status, answer.headers, answer.body)
    except errors.SyscallError as error:
        raise Failed(error, sent=True) from None


def failure(call: Call, where: Address, ended: Ended | http1.BrokenAnswer) -> Exception:
    """What a conversation that broke means for the call: Failed, or a SyscallError that no other attempt can mend."""
    if isinstance(ended, Untrusted):
        return errors.Unavailable(
            f"the certificate of {where} is not trusted: {ended}; name your authority's file in SSL_CERT_FILE"
        )
    if isinstance(ended, Unsent):
        message = f"nobody answers at {where}: {ended}; is the gateway or kernel running?"
        return Failed(errors.Unavailable(message), sent=False)
    if isinstance(ended, Late):
        return call.out_of_time(sent=ended.sent)
    if isinstance(ended, Lost):
        lost = f"{call.name}: the connection to {where} broke before the answer: {ended}"
        return Failed(errors.UnknownOutcome(lost), sent=True)
    return Failed(errors.UnknownOutcome(f"{call.name}: the answer of {where} cannot be read: {ended}"), sent=True)

"""What a call of a model costs: at most, before it is asked; and in the end.

Apart because a budget stands or falls by these sums. All in integers: tokens, and micro-USD per million tokens, so that
a price of 0.15 USD a million is 150000. Pure. It must never round down.
"""

from collections.abc import Sequence

from aion.api.generation import Request, Usage
from aion.api.grant import Backend
from aion.syscalls.models import estimate

_MILLION = 1_000_000


def cost(backend: Backend, *, tokens_in: int, tokens_out: int) -> int:
    """Micro-USD, rounded up once."""
    return -(-(tokens_in * backend.price_in + tokens_out * backend.price_out) // _MILLION)


def most_out(backend: Backend, request: Request) -> int:
    """How many tokens the answer may have: as the caller says, else the backend's own bound."""
    return request.max_tokens or backend.max_tokens


def worst(backend: Backend, request: Request) -> Usage:
    """What the backend may count at most."""
    return Usage(tokens_in=estimate.most(request), tokens_out=most_out(backend, request), estimated=True)


def worst_cost(backends: Sequence[Backend], request: Request) -> int:
    """What the call may cost at most, whichever of these answers; 0 where none of them costs anything."""
    priced = [each for each in backends if each.price_in or each.price_out]
    if not priced:
        return 0
    tokens_in = estimate.most(request)
    return max(cost(each, tokens_in=tokens_in, tokens_out=most_out(each, request)) for each in priced)


def worst_tokens(backends: Sequence[Backend], request: Request) -> int:
    """How many tokens the call may use at most, in and out, whichever of these answers."""
    return estimate.most(request) + max((most_out(each, request) for each in backends), default=0)


def unseen(backend: Backend, request: Request) -> Usage:
    """What counts of a whole answer that nobody could read, or waited for: it may have been made to its end."""
    return Usage(tokens_in=estimate.usual(request), tokens_out=most_out(backend, request), estimated=True)


def seen(backend: Backend, request: Request, *, tokens_in: int | None, text_bytes: int, pieces: int) -> Usage:
    """What counts of an answer that broke off: the question, and what came of the answer."""
    out = min(estimate.said(text_bytes, pieces), most_out(backend, request))
    asked = estimate.usual(request) if tokens_in is None else tokens_in
    return Usage(tokens_in=asked, tokens_out=out, estimated=True)

"""How many tokens a question may be, before anybody has counted them.

Apart because money is set aside by it. A token stands for one byte of text at least, in every tokenizer that can spell any
text, so bytes bound tokens from above, whatever the language; about four bytes are usual. Both are integers and pure. It
must never ask a tokenizer: there is one for each model, and most weigh more than this process.
"""

import msgspec

from aion.api.generation import Image, Request, Text, Thinking

PER_TURN = 16  # what a chat template wraps around a turn: role, separators
PER_QUESTION = 64
WITH_TOOLS = 600  # the system prompt that some providers add where there are tools: 313 to 530 tokens
PER_IMAGE = 5_000  # the largest that today's providers of whole images count (4 784)
USUAL_BYTES = 4


def most(request: Request) -> int:
    """No more tokens than this are asked, whatever the tokenizer; a picture counts as the largest."""
    text, other = _parts(request)
    return text + other


def usual(request: Request) -> int:
    """About so many, for a stream that broke off before its backend had counted."""
    text, other = _parts(request)
    return -(-text // USUAL_BYTES) + other


def said(text_bytes: int, pieces: int) -> int:
    """About so many tokens were answered: a piece is one at least, and a piece may hold several."""
    return max(pieces, -(-text_bytes // USUAL_BYTES))


def _parts(request: Request) -> tuple[int, int]:
    """Bytes of text, and tokens of everything else."""
    text, other = 0, PER_QUESTION
    for turn in request.turns:
        other += PER_TURN
        text += len(turn.name.encode()) + len(turn.tool_call_id.encode())
        for call in turn.tool_calls:
            text += len(call.name.encode()) + len(call.arguments.encode()) + len(call.id.encode())
            other += PER_TURN
        if isinstance(turn.content, str):
            text += len(turn.content.encode())
            continue
        for part in turn.content:
            match part:
                case Text():
                    text += len(part.text.encode())
                case Thinking():
                    text += len(part.text.encode()) + len(part.signature) + len(part.redacted)
                case Image():
                    other += PER_IMAGE
    if request.tools:
        text += len(msgspec.json.encode(request.tools))
        other += WITH_TOOLS + PER_TURN * len(request.tools)
    if request.response_format is not None and request.response_format.schema is not None:
        text += len(msgspec.json.encode(request.response_format.schema))
    return text, other

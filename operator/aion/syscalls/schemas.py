"""JSON Schemas of params: compiled once, and a refusal says where.

Apart because the compiler is a native library that costs its import and that no other module should know. Patterns run
on the linear-time engine (a tool's author must not be able to hang the gateway with one), and a schema that points to
another document is refused: nothing is ever fetched to check a call.
"""

from typing import Any

from aion.api import errors

_MAX_ERRORS = 5
_MAX_MESSAGE = 300


class Schema:
    """One compiled schema."""

    def __init__(self, schema: dict[str, Any], *, of: str) -> None:
        """Compile; raises UpstreamFailed where the schema itself is wrong, which its owner has to mend."""
        import jsonschema_rs

        self._of = of
        try:
            self._validator = jsonschema_rs.validator_for(
                schema, retriever=_refuse, pattern_options=jsonschema_rs.RegexOptions()
            )
        except ValueError as error:  # jsonschema_rs.ValidationError is one
            said = str(error).partition("\n")[0]  # below it the library draws the place, in lines of its own
            raise errors.UpstreamFailed(f"the input schema of {of} is wrong: {said[:_MAX_MESSAGE]}") from None

    def check(self, params: dict[str, Any]) -> None:
        """Raise BadParams, whose details say where, unless the params are as the schema says."""
        try:
            if self._validator.is_valid(params):
                return
        except ValueError as error:
            raise errors.BadParams(f"params of {self._of}: {str(error)[:_MAX_MESSAGE]}") from None
        found = []
        for problem in self._validator.iter_errors(params):
            where = "".join(f"/{_escaped(step)}" for step in problem.instance_path)
            found.append({"path": where, "message": problem.message[:_MAX_MESSAGE]})
            if len(found) == _MAX_ERRORS:
                break
        first = found[0]
        raise errors.BadParams(
            f"params of {self._of}{first['path'] and ' at ' + first['path']}: {first['message']}",
            details={"errors": found},
        )


def _escaped(step: str | int) -> str:
    """One step of a JSON Pointer."""
    return str(step).replace("~", "~0").replace("/", "~1")


def _refuse(uri: str) -> Any:  # noqa: ANN401 - the library's own signature
    raise ValueError(f"got a reference to {uri[:120]}, expected a schema that stands alone")

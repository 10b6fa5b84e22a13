"""Kind Tool: something that agents may call, in its own sealed Pods. The page of the kind is crds/tool.md.

Pure data. A Tool declares what goes in and out and which capabilities a caller must have; what it may do itself is the
intersection of its own and its caller's rights. It must never hold a secret: `config` is read by anyone who may read
the Tool.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from aion.api import entry as entries
from aion.api import fields, grant, labels, meta, schema, toolcall
from aion.api.shape import Matching, Rule, Shape

Entry = Annotated[
    str, Field(max_length=entries.MAX_ENTRY), Matching(entries.TOOL_PATTERN, "a tool's entry", entries.parse_tool)
]
Short = Annotated[
    str,
    Field(max_length=schema.MAX_SHORT),
    Matching(schema.SHORT_PATTERN, f"name:type[,name:type] with types {schema.TYPES}"),
    Rule(
        cel="self.split(',').all(a, self.split(',').exists_one(b, b.split(':')[0].trim() == a.split(':')[0].trim()))",
        message="each name stands once",
        holds=lambda text: len(set(schema.names(text))) == len(schema.names(text)),
    ),
]
ToolName = Annotated[
    str,
    Field(max_length=64),
    Matching("^[A-Za-z][A-Za-z0-9_-]*$", "a name of letters, digits, _ and -, such as web_search"),
]
Capability = Annotated[str, Field(max_length=32), *fields.one_of(*grant.CAPABILITIES)]


class Side(Shape):
    """What goes in, or comes out: the short form, or a JSON Schema."""

    short: Short | None = Field(default=None, alias="schema")
    json_schema: fields.AnyObject | None = None

    rules = (
        Rule(
            cel="has(self.schema) != has(self.jsonSchema)",
            message="give schema (the short form) or jsonSchema, one of the two",
            holds=lambda side: (side.short is None) != (side.json_schema is None),
        ),
    )


class Io(Shape):
    """The Tool's parameters and its result."""

    input: Side | None = None
    output: Side | None = None


class Resources(Shape):
    """Kubernetes quantities, for one replica."""

    cpu: fields.Quantity = "250m"
    mem: fields.Quantity = "128Mi"


class Security(Shape):
    """Names of the profiles that confine the Tool's container."""

    seccomp_profile: fields.OptionalName = ""
    cgroup: fields.OptionalName = ""


class Signatures(Shape):
    """Where the signature of the Tool's image or file is found."""

    cosign: Annotated[str, Field(max_length=1024)] = ""


class ToolSpec(Shape):
    """What a person asks for."""

    tool_name: ToolName | None = None
    version: fields.SemVer
    image: fields.ImageRef | None = None
    entry: Entry
    io: Io = Io()
    capabilities_required: Annotated[tuple[Capability, ...], Field(max_length=8), fields.UNIQUE, fields.AS_SET] = ()
    idempotent: bool = False
    timeout_ms: Annotated[int, Field(ge=1, le=3_600_000)] = 30_000  # an hour at most
    resources: Resources = Resources()
    replicas: Annotated[int, Field(ge=0, le=100)] = 1
    config: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=32)] = Field(
        default_factory=dict
    )
    security: Security = Security()
    signatures: Signatures = Signatures()

    @property
    def parsed_entry(self) -> entries.ToolEntry:
        """The entry, taken apart."""
        return entries.parse_tool(self.entry)


class ToolStatus(Shape):
    """What the controller saw."""

    observed_generation: fields.Count = 0
    conditions: meta.Conditions = ()
    endpoint: Annotated[str, Field(max_length=512)] = ""
    replicas: fields.Count = 0
    ready_replicas: fields.Count = 0


class Tool(meta.Kind):
    """A tool that agents call by `tool.invoke`: wasm, a native binary, Python, or an MCP server."""

    names = meta.Names("Tool", "tools", "tool", ("atool",), "Namespaced")
    columns = (
        *meta.ready_columns(),
        meta.Column("Tool-Name", "string", ".spec.toolName"),
        meta.Column("Version", "string", ".spec.version"),
        meta.Column("Entry", "string", ".spec.entry", 1),
        meta.Column("Replicas", "integer", ".status.readyReplicas", 1),
        meta.Column("Endpoint", "string", ".status.endpoint", 1),
        meta.AGE,
    )
    rules = (
        Rule(
            cel=f"self.metadata.name.size() <= {labels.MAX_TOOL_NAME} && !self.metadata.name.contains('.')",
            message=f"a Tool's name has at most {labels.MAX_TOOL_NAME} characters and no dots: "
            "its Service is named after it",
            holds=lambda tool: len(tool.name) <= labels.MAX_TOOL_NAME and "." not in tool.name,
        ),
    )

    kind: Literal["Tool"] = "Tool"
    spec: ToolSpec
    status: ToolStatus = ToolStatus()

    @property
    def tool_name(self) -> str:
        """What agents call."""
        return self.spec.tool_name or self.name

    @property
    def endpoint(self) -> str:
        """The base URL of the Tool's runner."""
        return labels.tool_endpoint(self.name, self.namespace, port=toolcall.PORT)

    def input_schema(self) -> dict[str, Any]:
        """The JSON Schema of the parameters; the short form takes no parameter that it does not name."""
        return _schema(self.spec.io.input, closed=True) or schema.ANYTHING

    def output_schema(self) -> dict[str, Any] | None:
        """The JSON Schema of the result, or None where nothing is promised."""
        return _schema(self.spec.io.output, closed=False)

    def runner_tool(self) -> toolcall.RunnerTool:
        """The document that the runner is given; raises ValueError for an entry that no runner runs (mcp)."""
        kind = self.spec.parsed_entry.kind
        if kind == "mcp-stdio" or kind == "mcp-remote":  # noqa: PLR1714 - narrows
            raise ValueError(f"got entry {self.spec.entry!r}, expected one that a runner runs: wasm:, rust: or python:")
        return toolcall.RunnerTool(
            name=self.tool_name,
            version=self.spec.version,
            kind=kind,
            input_schema=self.input_schema(),
            output_schema=self.output_schema(),
            timeout_ms=self.spec.timeout_ms,
            memory_mb=fields.mebibytes(self.spec.resources.mem),
            capabilities=tuple(sorted(self.spec.capabilities_required)),
            config=dict(self.spec.config),
        )


def _schema(side: Side | None, *, closed: bool) -> dict[str, Any] | None:
    if side is None:
        return None
    return schema.from_short(side.short, closed=closed) if side.short is not None else side.json_schema

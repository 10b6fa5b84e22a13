"""Kind Tool: something that agents may call, in its own sealed Pods. The page of the kind is crds/tool.md.

Pure data. A Tool declares what goes in and out and which capabilities a caller must have; what it may do itself is the
intersection of its own and its caller's rights. It must never hold a secret: `config` is read by anyone who may read
the Tool.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from aion.api import entry as entries
from aion.api import fields, grant, labels, meta, schema, toolcall
from aion.api.shape import Matching, Rule, Shape

Entry = Annotated[
    str,
    Field(max_length=entries.MAX_ENTRY),
    Matching(entries.TOOL_PATTERN, "an entry such as wasm:tools/web_search.wasm", entries.parse_tool),
]


def _each_name_once(short: str) -> str:
    found = schema.names(short)
    if len(set(found)) < len(found):
        raise PydanticCustomError("unique", "expected each name once")
    return short


Short = Annotated[
    str,
    Field(max_length=schema.MAX_SHORT),
    Matching(schema.SHORT_PATTERN, f"name:type[,name:type] with types {schema.TYPES}"),
    # Not a Rule: CEL's estimate of comparing every name with every other is beyond any budget. The controller refuses it.
    AfterValidator(_each_name_once),
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
    """The short form, `name:type[,name:type]`; a `?` behind the type: may be left out."""
    json_schema: fields.AnyObject | None = None
    """A JSON Schema, for everything that the short form cannot say."""

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
    """The parameters of a call, checked before the tool sees it. Where nothing is said: any object."""
    output: Side | None = None
    """The result, checked before the agent sees it. Where nothing is said: anything."""


class Resources(Shape):
    """Kubernetes quantities, for one replica."""

    cpu: fields.Quantity = "250m"
    """CPU of the tool's container, as a Kubernetes quantity."""
    mem: fields.Quantity = "128Mi"
    """Its memory; also the bound of a wasm instance."""


class Security(Shape):
    """Names of the profiles that confine the Tool's container."""

    seccomp_profile: fields.OptionalName = ""
    """The seccomp profile. Nothing, or `default-restrictive`, is the chart's default, which allows unix sockets only."""
    cgroup: fields.OptionalName = ""
    """The cgroup profile."""


class Signatures(Shape):
    """Where the signature of the Tool's image or file is found."""

    cosign: Annotated[str, Field(max_length=1024)] = ""
    """Where its Sigstore bundle is."""


class ToolSpec(Shape):
    """What a person asks for."""

    tool_name: ToolName | None = None
    """What agents call it, as in `{"tool": "web_search"}`; `metadata.name` where nothing is said."""
    description: Annotated[str, Field(max_length=2048)] = ""
    """What it does and when to use it, for the model that chooses among tools: MCP clients are given it with the schemas."""
    version: fields.SemVer
    """The tool's own version, semantic. It stands in every answer's engine, such as `tooling/web_search@1.2.0`."""
    image: fields.ImageRef | None = None
    """The image that holds the file of `entry`; the chart's sample tools where nothing is said."""
    entry: Entry
    """What runs: wasm:PATH, rust:bin/NAME (any native program), python:MODULE:FUNCTION, mcp:COMMAND or mcp+https://HOST."""
    io: Io = Io()
    """What goes in and what comes out."""
    capabilities_required: Annotated[tuple[Capability, ...], Field(max_length=8), fields.UNIQUE, fields.AS_SET] = ()
    """What a caller must be allowed, and all that the tool itself may do on its behalf."""
    idempotent: bool = False
    """Whether a lost answer may be asked for again without harm."""
    timeout_ms: Annotated[int, Field(ge=1, le=3_600_000)] = 30_000
    """How long a call may take, in milliseconds; an hour at most. Policy's own limit may be shorter."""
    resources: Resources = Resources()
    """CPU and memory of one replica."""
    replicas: Annotated[int, Field(ge=0, le=100)] = 1
    """How many Pods serve. 0: none, and calls fail."""
    config: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=32)] = Field(
        default_factory=dict
    )
    """Given to the tool with every call, over what the chart's `tools.config` says. Never a secret."""
    security: Security = Security()
    """The profiles that confine the tool's container."""
    signatures: Signatures = Signatures()
    """Where its signature is found."""

    rules = (
        Rule(
            cel="!self.entry.startsWith('mcp+') || (has(self.capabilitiesRequired) && 'network' in self.capabilitiesRequired)",
            message="a remote MCP server is reached over the network: capabilitiesRequired must hold network",
            holds=lambda spec: not spec.entry.startswith("mcp+") or "network" in spec.capabilities_required,
        ),
    )

    @property
    def parsed_entry(self) -> entries.ToolEntry:
        """The entry, taken apart."""
        return entries.parse_tool(self.entry)


class ToolStatus(Shape):
    """What the controller saw."""

    observed_generation: fields.Count = 0
    """The generation of the spec that all of this is about."""
    conditions: meta.Conditions = ()
    """How the Tool fares, each truth by itself."""
    endpoint: Annotated[str, Field(max_length=512)] = ""
    """The base URL of its runner, for gateways."""
    replicas: fields.Count = 0
    """How many Pods there should be."""
    ready_replicas: fields.Count = 0
    """How many of them serve this spec."""


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

    @property
    def seniority(self) -> tuple[str, str]:
        """Of two Tools that agents would call by one name, the one that sorts first has it: the elder."""
        return self.metadata.creation_timestamp or "", self.name

    def input_schema(self) -> dict[str, Any]:
        """The JSON Schema of the parameters; the short form takes no parameter that it does not name."""
        return _schema(self.spec.io.input, closed=True) or schema.ANYTHING

    def output_schema(self) -> dict[str, Any] | None:
        """The JSON Schema of the result, or None where nothing is promised."""
        return _schema(self.spec.io.output, closed=False)

    def runner_tool(self) -> toolcall.RunnerTool:
        """The document that the runner is given."""
        entry = self.spec.parsed_entry
        return toolcall.RunnerTool(
            name=self.tool_name,
            version=self.spec.version,
            kind=entry.kind,
            url=entry.url,
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

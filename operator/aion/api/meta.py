"""The frame of every kind: apiVersion, kind, metadata, and what its CRD says beside the schema.

Apart because all five kinds share it. In a CRD metadata is only `type: object`; here it is spelled out, so that a
person's file with a field that Kubernetes would drop is refused with advice.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from aion.api import fields, labels
from aion.api.shape import InvalidManifest, Shape


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`. Priority 1 shows only with `-o wide`."""

    name: str
    type: Literal["string", "integer", "date"]
    json_path: str
    priority: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True)
class Names:
    """How a kind is called, and where it lives."""

    kind: str
    plural: str
    singular: str
    short: tuple[str, ...]
    scope: Literal["Namespaced", "Cluster"]


class Metadata(Shape):
    """The ObjectMeta fields that a file or a cluster may hold."""

    name: fields.DnsSubdomain
    namespace: fields.OptionalName = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    labels: Annotated[dict[str, fields.LabelValue], fields.LABEL_KEYS] = Field(default_factory=dict)
    annotations: Annotated[dict[str, str], fields.ANNOTATION_KEYS] = Field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    generate_name: str = ""
    self_link: str = ""
    owner_references: tuple[dict[str, Any], ...] = ()
    managed_fields: tuple[dict[str, Any], ...] = ()


class ConditionStatus(Shape):
    """One entry of status.conditions."""

    type: Annotated[str, Field(max_length=316)]
    """What it is about, such as Ready."""
    status: Literal["True", "False", "Unknown"]
    """Whether it is so."""
    reason: Annotated[str, Field(max_length=1024)] = ""
    """Why, in one word that programs may read."""
    message: fields.LongText = ""
    """Why, and what to do, for people."""
    observed_generation: fields.Count = 0
    """The generation of the spec that was judged."""
    last_transition_time: fields.Timestamp = ""
    """Since when the status is what it is."""


Conditions = Annotated[tuple[ConditionStatus, ...], Field(max_length=32), fields.as_map("type")]


class Kind(Shape):
    """One object of a kind. Subclasses add `spec` and `status`."""

    names: ClassVar[Names]
    columns: ClassVar[tuple[Column, ...]] = ()

    api_version: Literal["aion.os/v1"] = labels.API_VERSION  # type: ignore[assignment]
    metadata: Metadata

    @classmethod
    def from_file(cls, document: object) -> Self:
        """Read one document that a person wrote; raises InvalidManifest."""
        if not isinstance(document, dict):
            raise InvalidManifest(cls.names.kind, (("", f"got {type(document).__name__}, expected a mapping"),))
        for field, expected in (("apiVersion", labels.API_VERSION), ("kind", cls.names.kind)):
            if document.get(field) != expected:
                raise InvalidManifest(cls.names.kind, ((field, f"got {document.get(field)!r}, expected {expected!r}"),))
        metadata = document.get("metadata")
        if isinstance(metadata, dict) and "version" in metadata:
            advice = "not a field of Kubernetes: use spec.version (`aionctl convert` does it for you)"
            raise InvalidManifest(cls.names.kind, (("metadata.version", advice),))
        if isinstance(metadata, dict):  # `labels:` with nothing behind it is common, and Kubernetes passes over it
            document = {**document, "metadata": {key: value for key, value in metadata.items() if value is not None}}
        return cls.read_strictly(document)

    @classmethod
    def from_cluster(cls, body: object) -> Self:
        """Read one object of the API server; raises InvalidManifest."""
        return cls.read_tolerantly(body if isinstance(body, dict) else dict(body))  # type: ignore[call-overload]

    @property
    def name(self) -> str:
        """metadata.name."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """metadata.namespace, or `default` where a file names none."""
        return self.metadata.namespace or "default"

    @property
    def generation(self) -> int:
        """metadata.generation."""
        return self.metadata.generation


def ready_columns() -> tuple[Column, ...]:
    """READY and REASON, as every kind shows them."""
    at = '.status.conditions[?(@.type=="Ready")]'
    return (Column("Ready", "string", f"{at}.status"), Column("Reason", "string", f"{at}.reason"))


AGE = Column("Age", "date", ".metadata.creationTimestamp")

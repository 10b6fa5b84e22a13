"""Names that objects in the cluster wear: group, labels, annotations, field managers, object names.

Apart because controller, chart, kernel and tests look for each other's objects by them. Nothing here decides anything.
"""

GROUP = "aion.os"
VERSION = "v1"
API_VERSION = f"{GROUP}/{VERSION}"

AGENT = "aion.os/agent"
TOOL = "aion.os/tool"
TEMPLATE_HASH = "aion.os/template-hash"
SIGNATURE = "aion.os/signature"  # annotation
SOURCE_DIGEST = "aion.os/source-digest"  # annotation of an Agent's Pod: which files of its ConfigMap it was made with
CLASSIC_NAMES = "aion.os/classic-names"  # annotation: names that a classic file had, and Kubernetes cannot have
DESCRIPTION = "kubernetes.io/description"  # annotation of Kubernetes' own
FINALIZER = "aion.os/cleanup"

NAME = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
COMPONENT = "app.kubernetes.io/component"
PART_OF = "app.kubernetes.io/part-of"
VERSION_LABEL = "app.kubernetes.io/version"
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "aion-os"
TENANT = "aion.os/tenant"  # on a namespace that a Tenant governs, and on what the Tenant puts into it
POD_SECURITY = "pod-security.kubernetes.io/enforce"
NAMESPACE = "kubernetes.io/metadata.name"  # on every namespace, by the API server: its own name
SELECTOR = f"{MANAGED_BY}={MANAGER}"

CONTROLLER = "aion-controller"  # field managers
BRAIN = "aion-brain"

# A Pod is `<agent>-<10 hex>` and its name is a label's value too: 63 - 11 characters are left for the agent's.
MAX_AGENT_NAME = 52
# A Tool's Service is `tool-<name>`: 63 - 5.
MAX_TOOL_NAME = 58

TENANT_KEYS = "aion-tenant-keys"  # Secret in each tenant's namespace: key id -> secret
MODEL_KEYS = "aion-model-keys"  # Secret in a tenant's namespace, where it needs one: backend's name -> key


def service_account(agent: str) -> str:
    """The ServiceAccount of an Agent, by which its gateway proves itself to the kernel."""
    return f"agent-{agent}"


def agent_of_service_account(account: str) -> str | None:
    """The Agent whose ServiceAccount this is, or None."""
    return account.removeprefix("agent-") if account.startswith("agent-") and account != "agent-" else None


def tool_object(tool: str) -> str:
    """The name of a Tool's Deployment and Service."""
    return f"tool-{tool}"


def tool_endpoint(tool: str, namespace: str, *, port: int = 8020) -> str:
    """The base URL of a Tool's runner."""
    return f"http://{tool_object(tool)}.{namespace}.svc:{port}"


def of_agent(name: str) -> dict[str, str]:
    """The labels on everything that belongs to an Agent."""
    return {AGENT: name, NAME: name, COMPONENT: "agent", PART_OF: MANAGER, MANAGED_BY: MANAGER}


def of_tool(name: str) -> dict[str, str]:
    """The labels on everything that belongs to a Tool."""
    return {TOOL: name, NAME: name, COMPONENT: "tool", PART_OF: MANAGER, MANAGED_BY: MANAGER}

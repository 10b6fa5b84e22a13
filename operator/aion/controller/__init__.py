"""The operator process: watch, queue, plan, apply for the kinds of `aion.os`. Nobody imports this package.

The files, in the order in which an event meets them:

    watch, reflector  list, then watch, each kind         listing, sweep     LISTs that find what a watch has lost
    feed              remember the object, ask for its root
    store, views      what is remembered: frozen, small   queue     keys, each once, each by one worker
    workers           take a key, arrange its return      outcome   how a pass ended
    reconcile         one pass: observe, plan, apply, say

    sources           the digests of the files that Agents name
    accept, recipes   from a spec to what can be rendered, or a refusal for a person
    draft             what follows from an Agent's spec alone, once for each spec
    plan_agent        what should exist for an Agent      plan_tool, plan_tenant, policy_pointer    … for the other kinds
    rotation          when a tenant gets another key
    render_agent      how a Pod looks                     render_tool, render_tenant, sealed          … a Tool's; what all have in common
    diagnosis         why a Pod is not ready              disruption  what took away one that was
    refusals          what the API server's no means
    conditions_agent  what to say about it                conditions_tool, binding, readiness    … and in which words
    plan, ownership   the hand-over, as data              … and how it is known that nobody has touched what is there

    apply             the writes of children, and the tenant's keys
    status, events    the status, where there is something new to say; what happened, for people
    kube, errors      the rim to the API server, and what goes wrong there: the only module that speaks to Kubernetes
    wire              what is read of an object on its way in
    budget            how fast it may be written to

    lease, election   who leads                           leading   what only the leader has
    watches           whether the watches still tell      health, metrics, settings, __main__    the process around it
    testing           a cluster in memory

Everything between `reconcile` and `apply` is pure. The process holds no state but what the first lists rebuild.
"""

"""The benchmark `model`: what a call of a model pays for the gateway, beside LiteLLM's proxy.

`calls` what is asked · `sides` the processes that are asked · `rounds` each is asked in turn · `run` options, table, figures.
"""

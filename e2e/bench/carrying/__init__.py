"""The benchmark `egress`: `run` its options and figures, `sides` what is measured, `asking` the load, `host` and `relay` the peers."""

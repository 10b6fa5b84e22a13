"""The benchmark `sdk`: what a syscall costs an agent's own process, by our SDK and by the HTTP clients one would use instead."""

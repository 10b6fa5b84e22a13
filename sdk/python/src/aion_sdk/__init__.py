"""What agent authors import: syscalls to AION-OS, by the standard library alone."""

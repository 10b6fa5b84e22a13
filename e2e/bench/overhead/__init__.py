"""The benchmark `gateway`: what a syscall pays for being checked, beside what people would put in the same place."""

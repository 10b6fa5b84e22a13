"""What confines an agent: shipped profiles, the ceiling no profile may pass, and the installer on each node.

Never decides who may do what; that is policy.
"""

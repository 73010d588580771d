"""
Faults for a whole orchestrator, and what must hold whatever they do.

Nothing here is known to the product: what disturbs it is put around it, beside it, or
between it and what it talks to.
"""

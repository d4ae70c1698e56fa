"""How the service tells what it does: structured logs and Prometheus metrics.

A leaf that every layer may import. Logs and labels name operations, never objects, secrets or
bodies; the request's context (request id, tenant) is bound once, in the web's middleware.
"""

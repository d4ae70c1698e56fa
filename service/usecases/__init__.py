"""One verb a file: what the service does, in terms of the stores' ports and the model's values.

A use case knows nothing of HTTP and of drivers; it takes what it needs as arguments, raises errors
of `service.errors` and returns values. Tasks that must outlive their caller belong to `Tasks`.
"""

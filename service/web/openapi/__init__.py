"""The API document (OpenAPI 3.1), made from the table of routes and the models that serve.

`document.build` walks the routes that are described (`web/describe.py`) and adds what follows from
the rest; `parameters`, `bodies` and `answers` are the parts of an operation, `schemas` the models
behind all of them. Pure: routes in, JSON-ready values out.
"""

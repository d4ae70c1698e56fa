"""One state machine over the whole API, against a model that is plain lists.

`model` says what docs/api.md promises, `door` asks a service over HTTP, `machine` has the rules. It
is run on stores in memory (tests/web/test_machine_in_memory.py) and on the installed service on
real ones (tests/e2e/test_e2e_machine.py).
"""

"""Pure codecs of the wire: text in, values out, and back. No I/O, no clocks, no framework.

A parser here either returns a value of the model, says "ignore this field" with None where its RFC
demands that, or raises an error of `service.errors`. It may import `model` and `errors` only.
Header fields with several lines are joined with ", " before they are parsed (RFC 9110 §5.3).
"""

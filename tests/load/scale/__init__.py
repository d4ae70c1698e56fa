"""`make scale`: what a page costs in a small bucket and in one a hundred times as large.

A bucket of each size is filled with the same sort of objects: a rare thing is there fifty times
whatever the size, a common one is a share of all. Then each kind of page is asked for through the
use cases, without HTTP, a few pages deep, and its median told for both sizes with their ratio.
"""

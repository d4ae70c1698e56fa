"""Uploads that outlive their requests, whatever protocol they come by.

What is known of one stands in the ledger and nowhere else (model/resumable.py), so any replica goes
on with any upload. Whoever changes one holds it: a claim raises the epoch, takes it from whoever
held it before, and fails unless the offset is the one that was asked for. What a stale holder does
after that is without effect on what counts: its steps are refused by the ledger, its objects have
keys of their own, its parts numbers that nobody else uses.

A holder that dies leaves: parts and a tail that are acknowledged, and count; parts that are not,
which Complete leaves out; keys that are noted and not needed, which go with the upload, or earlier
(`retire`). An upload that is closed is finished by its holder, by the next request that asks for
it, or by the sweeper, whoever comes first.
"""

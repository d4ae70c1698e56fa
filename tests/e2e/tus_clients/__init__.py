"""Clients of tus 1.0.0 that others wrote, each behind a small program of ours.

A program takes a job (see `job.py`) on its standard input and prints the URL of the upload. It
retries after a moment, for as long as it takes, and goes on where the server says.
"""

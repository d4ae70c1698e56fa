"""Loops that call one use case each: with a lease (one replica at a time), an interval, jitter."""

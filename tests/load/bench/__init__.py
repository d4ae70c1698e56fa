"""`make bench`: what the way through Mediagate costs, against the store alone and against nginx.

Everything runs on this machine in one go and round by round in turns, so that what disturbs one way
disturbs all. Figures are medians; `min` and `max` stand beside them, for that is the noise. The
clients are curl and wrk: written in C, so that they cost little beside what they measure.

    direct      presigned URLs straight to the store
    nginx       the same URLs through an nginx reverse proxy with buffering off: the yardstick
    plain       a gateway as one would write it in an afternoon (plain.py): the baseline
    mediagate   the service, as installed
"""

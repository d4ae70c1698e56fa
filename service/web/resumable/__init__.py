"""`/v1/uploads`: resumable uploads by two protocols over the same uploads.

tus 1.0.0 is spoken to whoever sends `Tus-Resumable`, Resumable Uploads for HTTP (the IETF's draft)
to everybody else. An upload that was created by one may be continued and finished by the other:
what differs is how requests and answers are written, and that tus takes an upload for complete as
soon as its length is reached, while the draft wants to be told so (`Upload-Complete: ?1`).
"""

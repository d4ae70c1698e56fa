"""HTTP: the only user of aiohttp.web.

`routes` is the one table of what there is; a handler is reached through it only, after the caller
was authenticated and authorized. Handlers by resource turn a request into the arguments of a use
case and its value into a response; errors become problem+json in one place (`problems`).
May import everything below it, and nothing of `app` and `cli`.
"""

"""Models as jobs: a durable queue, children that work it, what they made kept for whoever asks again.

`Models` (in `service`) is the way in for the pages. Nothing here computes; that is done in the children of `child`.
"""

"""`nurselog demo`: a pipeline of cancellations on real input, whose process is killed again and again.

The pipeline is `mirror_stdlib`, which is linked among the examples: it mirrors the standard library of the running
Python from three mirrors that cannot be trusted. The rest is what surrounds it: `mirrors` serves and misbehaves,
`supervisor` starts the worker process, kills it and starts it again, `worker` is that process, `verify` compares what
there is in the end with what there should be, `report` says what happened, and `tree` draws a log. `job` holds the
records that they and the pipeline share.

Nothing of this is imported by the library, so its packages (the extra `demo`) are needed for the demo alone.
"""

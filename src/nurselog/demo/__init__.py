"""`nurselog demo`: a pipeline of cancellations on real input, whose processes are killed again and again.

The pipeline is `mirror_stdlib`, which is linked among the examples: it mirrors the standard library of the running
Python from three mirrors that cannot be trusted. The rest is what surrounds it: `mirrors` serves and misbehaves,
`supervisor` starts the worker processes, kills them and starts them again, `worker` is such a process, `database` is
where their store is if that is in PostgreSQL, `verify` compares what there is in the end with what there should be,
`report` says what happened, and `tree` draws a log. `job` holds the records that they and the pipeline share.

Nothing of this is imported by the library, so its packages (the extra `demo`) are needed for the demo alone.
"""

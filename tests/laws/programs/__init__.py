"""Workflow programs made by Hypothesis: trees of what a workflow can do, run against the laws.

`steps`, `leaves` and `trees` are the language, `world` what the parts of one program share, `programs` the workflow
that runs one and the strategies that make them, and `python -m tests.laws.programs` runs thousands.
"""

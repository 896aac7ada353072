"""The parts of the SQLite store: plain functions on one connection; only `executors` knows Trio."""

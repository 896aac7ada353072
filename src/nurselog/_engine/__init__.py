"""Many workflows: the engine, its journal, ownership and recovery."""

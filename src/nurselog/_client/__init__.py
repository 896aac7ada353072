"""Clients: what others than engines ask of a store, on Trio, on asyncio, and in sync code."""

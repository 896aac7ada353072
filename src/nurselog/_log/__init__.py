"""The pure core: what a log says, without Trio, clock, randomness or I/O."""

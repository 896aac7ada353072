"""One workflow on Trio: the turn, strands, nurseries, steps, cancel scopes, select, channels, timers."""

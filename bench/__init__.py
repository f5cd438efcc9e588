"""OmenDB beside its peers: recall, speed, build rate and memory. `python -m bench` runs all of it."""

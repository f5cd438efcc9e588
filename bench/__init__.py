"""OmenDB beside its peers: recall, speed, build rate and memory. See bench/README.md."""

"""Speed and memory side by side with a peer, as ratios: `make bench`."""

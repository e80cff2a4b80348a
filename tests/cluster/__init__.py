"""Real clusters on one machine: a Slurm controller with its node, a Ray cluster. See docs/clusters.md."""

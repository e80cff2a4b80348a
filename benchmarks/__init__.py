"""Speed and memory, each benchmark against a plain formulation in the same run."""

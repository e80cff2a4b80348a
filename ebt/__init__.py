"""The energy-based transformer: inference is gradient descent on a learned energy."""

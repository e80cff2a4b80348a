"""Neutral ground: what every contender shares and neither owns."""

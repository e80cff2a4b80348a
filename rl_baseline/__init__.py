"""The rival road: a transformer trained on next tokens, then on exact rewards."""

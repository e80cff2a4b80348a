"""What was found: records, manifests, claims on disk."""

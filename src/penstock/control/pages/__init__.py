"""What a refused subscriber is shown."""

"""What policies in Python share."""

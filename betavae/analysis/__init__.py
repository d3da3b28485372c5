"""What a sweep's folder says: its trials, in numbers and pictures. Knows nothing of Ray."""

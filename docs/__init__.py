"""What is written for readers, and what writes the parts of it that the code already says."""

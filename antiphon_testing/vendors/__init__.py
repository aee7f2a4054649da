"""Local stand-ins of vendors: servers that speak a vendor's protocol, and fail as a test asks."""

"""HTTP for browsers and LiveKit's webhooks: the talk page, its sessions and their events."""

"""How we see: logs, later traces and instruments, each declared once."""

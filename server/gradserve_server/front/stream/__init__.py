"""The bidirectional stream: many requests and their attachments over one connection."""

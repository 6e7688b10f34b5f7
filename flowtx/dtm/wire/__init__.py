"""DTM's spellings: what clients send, what they are answered, and how stored things look. Pure."""

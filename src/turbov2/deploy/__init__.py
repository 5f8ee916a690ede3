"""Ways to run the same engine on several machines. Owns nothing yet; a single machine needs none of it."""

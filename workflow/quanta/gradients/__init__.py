"""Which tokens are clustered, and the gradients of their losses."""

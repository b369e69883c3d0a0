"""The go-live rehearsal: an order of fiction goes the whole way of a real one, for each modality, and leaves no trace."""

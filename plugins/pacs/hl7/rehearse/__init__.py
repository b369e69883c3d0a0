"""The go-live rehearsal: a made-up order goes the whole way of a real one, for each modality, and leaves no trace."""

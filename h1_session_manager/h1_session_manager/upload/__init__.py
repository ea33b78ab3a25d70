"""Episodes to the training host by rsync, each proved to have arrived."""

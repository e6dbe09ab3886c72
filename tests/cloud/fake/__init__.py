"""Google Cloud as a server on this machine, written by us from what its clients send."""

"""The session: state machine, poller, uploader, keyboard."""

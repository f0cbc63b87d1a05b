"""What is kept on disk: the log format, one session's transcript, the catalog, and who owns what."""

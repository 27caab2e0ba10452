"""What users start. One file a command; what a command needs is imported when it runs, so that help comes at once."""

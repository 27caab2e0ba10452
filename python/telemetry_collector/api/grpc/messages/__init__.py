"""The messages of proto/*.proto, as `make proto` generated them. A test compares them with the files."""

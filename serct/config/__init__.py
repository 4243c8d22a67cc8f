"""What params.yaml says, typed and checked."""

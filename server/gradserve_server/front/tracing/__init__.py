"""What a trace answers, made of the numbers of its program."""

"""What can be asked of the books: questions over any Store, answers as plain values."""

"""What both programs share with the manager that started them."""

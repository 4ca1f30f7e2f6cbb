"""Chaos with real processes: the books hold what the meters delivered, whatever was killed, cut or filled."""

"""What a busy CPU of each job draws, learnt Report by Report while the agent runs."""

"""Deterministic simulation of delivery: agents, disks, network, collectors and store under a seed.

The programs are the real ones: sampler, meters' arithmetic, spool, sessions, ingest, sequencer, ledger.
What is simulated is below and around them: time, threads, files, the network, and of the store what it
makes durable.
"""

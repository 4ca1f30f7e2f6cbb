"""Crashes between any two file operations: what a store does to its disk is recorded, and cut short.

A scene runs once, in a program whose file operations are recorded. What a kill or a power cut at any of them
would leave is made of the recording, and there the store must open with all that was acknowledged.
"""

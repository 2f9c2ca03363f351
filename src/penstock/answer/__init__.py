"""Packets that we author: what a refused client or its server is told in the other side's name.

Every frame mirrors a packet at hand (`frame`), carries a full checksum (`tcp`) and is a function of its arguments: no
answer is queued, a lost one is written again.
"""

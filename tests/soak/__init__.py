"""The long runs: by time, all backends at once with a fault every 20 s, or by the number of operations.

python -m tests.soak --minutes 30 --fault-every 20 --seed 1
python -m tests.soak --operations 1000000 --seed 1
"""

"""Which arm takes longer for the same counted FLOPs?"""

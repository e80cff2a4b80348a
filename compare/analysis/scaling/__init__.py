"""Who learns more from the same compute?"""

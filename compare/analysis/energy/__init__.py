"""Does low energy mean right?"""

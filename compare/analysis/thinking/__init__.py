"""Who gains from compute at inference?"""

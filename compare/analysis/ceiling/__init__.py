"""Does entropy foretell where reward ends?"""

"""Which settings did a search choose?"""

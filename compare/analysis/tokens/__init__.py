"""Which tokens hold entropy, and which settle first?"""

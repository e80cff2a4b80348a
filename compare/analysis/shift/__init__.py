"""Who decays slower away from the training distribution?"""

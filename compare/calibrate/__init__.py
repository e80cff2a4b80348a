"""Planted truths: how often is the analysis right?"""

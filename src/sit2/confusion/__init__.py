"""Before training: where is the confusion?"""

"""Does it help, and how fast is it?"""

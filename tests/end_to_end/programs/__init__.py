"""
Small programs as anybody would write them, which know nothing of atmosphere but strings.
"""

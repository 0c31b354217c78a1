"""
Many protocols on one UDP port.
"""

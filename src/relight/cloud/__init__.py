"""Google Cloud, asked by Google's own clients: what there is, what is changed, what became of it.

Needs the extra `google`; nothing here is imported while a service runs.
"""

"""One module per page: its `PAGE` with the values of its template, which lies beside it. `routes` finds them all.

`base.html` and `parts.html` are shared by the templates.
"""

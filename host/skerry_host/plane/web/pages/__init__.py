"""One module a page: the values of its template, which lies beside it. `base.html` and `parts.html` are shared."""

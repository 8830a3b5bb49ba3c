"""The report of a build: one HTML file that needs nothing else. `facts` gathers, `page` draws."""

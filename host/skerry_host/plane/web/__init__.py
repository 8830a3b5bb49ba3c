"""The web page and the HTTP interface for programs, made from the registry as it is now. Changes nothing."""

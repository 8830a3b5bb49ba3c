"""The web page and the HTTP API, made from the registry as it is now. Changes nothing."""

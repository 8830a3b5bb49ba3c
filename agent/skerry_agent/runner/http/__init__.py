"""The local inference API: Open Inference Protocol v2 over HTTP/1.1 on a listening socket that runners share."""

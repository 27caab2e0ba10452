"""The composition root: the only package that names concrete components and puts them together.

`collector` is the service, `agent` the node agent; `service` is what both do as a process.
"""

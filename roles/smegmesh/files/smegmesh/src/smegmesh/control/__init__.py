"""The agent's API on its Unix socket, and a client of it.

`server.ControlServer` serves, `client.Client` asks, `types` says what is said.
"""

"""The agent's API on its Unix socket and over TLS, and a client of the former.

`server.ControlServer` and `https.HttpsServer` serve, `client.Client` asks, `types` says what is said.
"""

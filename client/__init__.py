"""The clients of a ReplicatedLog: a terminal (`python -m client`) and the HTTP client it uses (`client.api`).

They know URLs and JSON only, and import nothing from the other packages of this repository.
"""

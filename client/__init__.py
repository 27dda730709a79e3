"""The clients of a ReplicatedLog: a terminal (`python -m client`), one for scripts (`python -m client append "text"`),
and the HTTP client that both use (`client.api`).

They know URLs and JSON only, and import nothing from the other packages of this repository.
"""

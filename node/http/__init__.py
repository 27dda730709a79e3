"""The routes that both roles serve: ``reading`` gives the log, ``openapi`` describes every route of both."""

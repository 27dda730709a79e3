"""RabbitMQ, as the nodes use it. The only package that speaks AMQP.

A node's session is two connections, because a broker that blocks publishers (memory or disk alarm) must not stop
consumers: one publishes, one consumes. Whatever goes wrong with either ends the session; `keep_session` then makes a
new one, topology included. Nothing depends on the broker keeping anything.
"""

"""RabbitMQ, as the nodes use it. The only package that speaks AMQP.

    plain          read this first: deliveries carried by aio-pika's public functions alone
    transport      the interface of both ways
    fast           the same faster, by parts of aiormq and pamqp that it checks at start
    choice         which of the two a node uses
    session        what a node declares, consumes and publishes in one session, and how the session ends
    reconnecting   one session after the other
    names          every name on the broker
    trouble        the error in which a session ends

A node's session is two connections, because a broker that blocks publishers (memory or disk alarm) must not stop
consumers: one publishes, one consumes. The session ends when either of them fails; `keep_session` then makes a new one,
and declares exchange and queues anew. Nothing depends on the broker keeping anything.
"""

"""Finding a RabbitMQ to use, or starting one: in Docker, or as a child process."""

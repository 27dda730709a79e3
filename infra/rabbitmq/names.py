"""Every name on the broker, in one place. Several logs share a broker by their log names."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Names:
    """The names that belong to one log."""

    log_name: str

    @property
    def exchange(self) -> str:
        return f"replog.{self.log_name}.log"

    def node_queue(self, node: str) -> str:
        return f"replog.{self.log_name}.node.{node}"

    def spare_queue(self, node: str) -> str:
        """Exclusive, and always the same: a second process under the node's name is refused it."""
        return f"replog.{self.log_name}.spare.{node}"

    def acks_queue(self, epoch: int, connection: int) -> str:
        return f"replog.{self.log_name}.acks.{epoch}.{connection}"

    def fetched_queue(self, node: str, unique: str) -> str:
        return f"replog.{self.log_name}.fetched.{node}.{unique}"

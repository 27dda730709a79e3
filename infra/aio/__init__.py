"""What asyncio lacks, in small pieces. None of them knows a log, a broker or HTTP."""

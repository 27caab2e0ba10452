"""The collector's listeners, one for each value of `server.transport`: what is promised of one is tested of each."""

TRANSPORTS = ("aioquic", "quinn")

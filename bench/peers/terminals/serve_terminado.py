"""A command's terminal behind a WebSocket, by terminado: serve_terminado.py COMMAND prints its port."""

import asyncio
import socket
import sys

import terminado
import tornado.httpserver
import tornado.netutil
import tornado.web


async def main() -> None:
    manager = terminado.UniqueTermManager(shell_command=["bash", "-c", sys.argv[1]])
    app = tornado.web.Application([(r"/ws", terminado.TermSocket, {"term_manager": manager})])
    listening = tornado.netutil.bind_sockets(0, "127.0.0.1", family=socket.AF_INET)
    tornado.httpserver.HTTPServer(app).add_sockets(listening)
    print(listening[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())

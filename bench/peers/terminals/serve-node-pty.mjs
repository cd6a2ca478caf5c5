// A command's terminal behind a WebSocket, by node-pty and ws: node serve-node-pty.mjs COMMAND prints its port.
import pty from "node-pty";
import { WebSocketServer } from "ws";

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, path: "/ws", perMessageDeflate: false });
server.on("listening", () => console.log(server.address().port));
server.on("connection", (socket) => {
  const terminal = pty.spawn("bash", ["-c", process.argv[2]], { cols: 80, rows: 24, encoding: null });
  // As much as a client takes: without this the flood would stay in memory.
  terminal.onData((data) => {
    socket.send(data, () => socket.bufferedAmount < 1 << 20 && terminal.resume());
    if (socket.bufferedAmount > 4 << 20) terminal.pause();
  });
  socket.on("message", (data) => terminal.write(data.toString()));
  socket.on("close", () => terminal.kill("SIGKILL"));
});

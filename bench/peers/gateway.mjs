// A WebSocket gateway as most are written in Node: one process, http-proxy in front of one backend.
//
//     node gateway.mjs PORT BACKEND
import http from 'node:http';
import httpProxy from 'http-proxy';

const [port, target] = process.argv.slice(2);
const proxy = httpProxy.createProxyServer({ target, ws: true });
proxy.on('error', () => {});
const server = http.createServer((request, response) => proxy.web(request, response));
server.on('upgrade', (request, socket, head) => {
  socket.on('error', () => {});
  socket.setNoDelay(true);
  proxy.ws(request, socket, head);
});
server.listen({ port: Number(port), host: '127.0.0.1', backlog: 4096 });

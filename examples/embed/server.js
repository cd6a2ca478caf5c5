// The backend: it has the API key, starts a session for each visitor, and hands out nothing but links to it.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';

const { CLISCALE_API = 'http://localhost:8080', CLISCALE_API_KEY, CODE_URL, COMMAND = 'bash -i', INSTALL, PORT = '3000' } = process.env;
const file = (url, type) => ({ type, body: readFileSync(fileURLToPath(url)) });
const FILES = {
  '/': file(new URL('index.html', import.meta.url), 'text/html'),
  '/page.js': file(new URL('page.js', import.meta.url), 'text/javascript'),
  '/terminal.js': file(import.meta.resolve('@cliscale/terminal'), 'text/javascript'),
};
const sessions = new Map(); // by visitor

async function call(path, body) {
  const headers = { Authorization: `Bearer ${CLISCALE_API_KEY}`, 'Content-Type': 'application/json' };
  const answer = await fetch(CLISCALE_API + path, { method: 'POST', headers, body: JSON.stringify(body) });
  return { ok: answer.ok, ...(await answer.json()) };
}

async function linkFor(visitor) {
  const id = sessions.get(visitor);
  const again = id && (await call(`/api/sessions/${id}/tokens`, { role: 'operator' }));
  if (again?.ok) return again.terminalUrl;
  const made = await call('/api/sessions', { code_url: CODE_URL, command: COMMAND, install_cmd: INSTALL });
  if (!made.ok) throw new Error(made.detail);
  sessions.set(visitor, made.sessionId);
  return made.terminalUrl;
}

const server = createServer(async (request, response) => {
  const visitor = /visitor=([\w-]{36})/.exec(request.headers.cookie)?.[1] ?? randomUUID();
  const { type, body } = FILES[request.url] ?? {};
  response.setHeader('Set-Cookie', `visitor=${visitor}; HttpOnly; SameSite=Strict`);
  response.setHeader('Content-Security-Policy', "default-src 'self'; img-src data:; frame-src http: https:");
  if (body) return response.setHeader('Content-Type', type).end(body);
  if (request.method !== 'POST' || request.url !== '/terminal') return response.writeHead(404).end();
  const answer = await linkFor(visitor).then((terminalUrl) => ({ terminalUrl }), ({ message }) => ({ message }));
  response.setHeader('Content-Type', 'application/json').end(JSON.stringify(answer));
});
server.listen(Number(PORT), '127.0.0.1', () => console.log(`http://localhost:${server.address().port}`));

// A real `cliscale up` for one test file: started on port 0 with its own data directory, ended by its process id.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';

const HERE = fileURLToPath(new URL('..', import.meta.url));
export const SAMPLE_CLI = resolve(HERE, '../../sample-cli');
const BINARY = resolve(process.env.CLISCALE_BIN ?? resolve(HERE, '../../target/ci/cliscale'));
/** Found beside it, unless told otherwise. */
export const RUNNER = join(dirname(BINARY), 'cliscale-runner');
const START_MS = 30_000;
const STOP_MS = 20_000;

export class Cliscale {
  #child;
  #exited;
  #dataDir;
  #log = [];
  #settings = new Map();

  /** `args` follow `up`; `env` adds to the environment. */
  static async start({ args = [], env = {} } = {}) {
    const server = new Cliscale();
    server.#dataDir = await mkdtemp(join(tmpdir(), 'cliscale-browser-'));
    const all = ['up', '--listen', '127.0.0.1:0', '--data-dir', server.#dataDir, '--max-sessions', '32', ...args];
    server.#child = spawn(binary(), all, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    server.#exited = new Promise((done) => server.#child.once('exit', (code, signal) => done(`${code ?? signal}`)));
    readline.createInterface(server.#child.stderr).on('line', (line) => server.#log.push(line));
    try {
      await server.#ready();
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  /** Where it listens, whatever its public address is. */
  get port() {
    return Number(new URL(this.listenUrl).port);
  }

  /** The text of its log, for a failed test. */
  get log() {
    return this.#log.join('\n');
  }

  /** A session of sample-cli, unless told otherwise. Gives the answer of the creation. */
  create(body = {}) {
    return this.#call('POST', '/api/sessions', {
      code_url: `file://${SAMPLE_CLI}`,
      command: 'node index.js run --pace 15',
      install_cmd: 'npm install',
      prompt: 'Hello!',
      ...body,
    });
  }

  get(id) {
    return this.#call('GET', `/api/sessions/${id}`);
  }

  /** A fresh link's `terminalUrl`. */
  async link(id, role) {
    return (await this.#call('POST', `/api/sessions/${id}/tokens`, { role })).terminalUrl;
  }

  /** The session once it is over. */
  async ended(id) {
    for (const deadline = Date.now() + START_MS; Date.now() < deadline; ) {
      const session = await this.get(id);
      if (session.state === 'ended') return session;
      await new Promise((next) => setTimeout(next, 100));
    }
    throw new Error(`session ${id} did not end`);
  }

  async stop() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGTERM');
    const late = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS);
    await this.#exited;
    clearTimeout(late);
    await rm(this.#dataDir, { recursive: true, force: true });
  }

  async #ready() {
    const lines = readline.createInterface(this.#child.stdout);
    const complete = new Promise((done) => {
      lines.on('line', (line) => {
        const found = /^([a-z_]+)=(.*)$/.exec(line);
        if (found) this.#settings.set(found[1], found[2]);
        if (this.#settings.has('api_url') && this.#settings.has('api_key_file')) done('ready');
      });
    });
    const late = new Promise((done) => setTimeout(done, START_MS, 'nothing in time').unref());
    const outcome = await Promise.race([complete, late, this.#exited]);
    if (outcome !== 'ready') throw new Error(`cliscale up: ${outcome}\n${this.log}`);
    this.listenUrl = this.#settings.get('listen_url') ?? this.#settings.get('api_url');
    this.apiKey = (await readFile(this.#settings.get('api_key_file'), 'utf8')).trim();
  }

  async #call(method, path, body) {
    const headers = { Authorization: `Bearer ${this.apiKey}` };
    if (body) headers['Content-Type'] = 'application/json';
    const answer = await fetch(new URL(path, this.listenUrl), { method, headers, body: body && JSON.stringify(body) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}\n${this.log}`);
    return JSON.parse(text);
  }
}

function binary() {
  if (!existsSync(BINARY)) throw new Error(`${BINARY} is missing: build it with "cargo build --profile ci", or set CLISCALE_BIN`);
  return BINARY;
}

// A controller and a gateway as processes of their own, so that the gateway alone can be killed and started again at
// the same address, as a pod behind its Service is.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const HERE = fileURLToPath(new URL('..', import.meta.url));
const PROGRAMS = dirname(resolve(process.env.CLISCALE_BIN ?? resolve(HERE, '../../target/ci/cliscale')));
const START_MS = 30_000;
const STOP_MS = 20_000;
const API_KEY = 'a-key-of-a-test-and-nothing-else';

/** One process whose log is JSON. */
class Process {
  #child;
  #log = [];
  #listeners = new Set();

  constructor(program, env) {
    const path = join(PROGRAMS, program);
    if (!existsSync(path)) throw new Error(`${path} is missing: build it with "cargo build --profile ci", or set CLISCALE_BIN`);
    this.#child = spawn(path, [], { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, CLISCALE_LOG_FORMAT: 'json', ...env } });
    this.exited = new Promise((done) => this.#child.once('exit', (code, signal) => done(`${program}: ${code ?? signal}`)));
    readline.createInterface(this.#child.stderr).on('line', (line) => {
      this.#log.push(line);
      for (const listener of this.#listeners) listener(line);
    });
  }

  get log() {
    return this.#log.join('\n');
  }

  /** The fields of the first line that has these among them. */
  async logged(wanted) {
    const fieldsOf = (line) => {
      try {
        const { fields } = JSON.parse(line);
        return Object.entries(wanted).every(([name, value]) => fields?.[name] === value) ? fields : null;
      } catch {
        return null;
      }
    };
    const late = new Promise((done) => setTimeout(done, START_MS, 'nothing in time').unref());
    const found = new Promise((done) => {
      const look = (line) => fieldsOf(line) && done(fieldsOf(line));
      this.#log.forEach(look);
      this.#listeners.add(look);
    });
    const outcome = await Promise.race([found, late, this.exited]);
    if (typeof outcome === 'string') throw new Error(`${outcome}\n${this.log}`);
    return outcome;
  }

  /** Ends it; one that does not obey is killed after a while. */
  async end(signal) {
    this.#child.kill(signal);
    const late = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS);
    await this.exited;
    clearTimeout(late);
  }
}

export class Replicas {
  #folder;
  #archives;
  #controller;
  #gateway;
  #api;
  #codeUrl;
  #listen = '127.0.0.1:0';

  static async start() {
    const replicas = new Replicas();
    replicas.#folder = await mkdtemp(join(tmpdir(), 'cliscale-replicas-'));
    try {
      await replicas.#serveArchive();
      await replicas.#startController();
      await replicas.startGateway();
    } catch (error) {
      await replicas.stop();
      throw error;
    }
    return replicas;
  }

  get log() {
    return `${this.#controller?.log}\n${this.#gateway?.log}`;
  }

  /** The first time at any free port, and from then on at the same. */
  async startGateway() {
    this.#gateway = new Process('cliscale-gateway', {
      ...this.#shared(),
      CLISCALE_LISTEN: this.#listen,
      CLISCALE_ADMIN: '127.0.0.1:0',
      CLISCALE_JWKS_URL: `http://${this.#api}/.well-known/jwks.json`,
      // Short: what is tested is that terminals come back, not how long they are let go of.
      CLISCALE_DRAIN_SECS: '2',
    });
    this.#listen = (await this.#gateway.logged({ message: 'listening', what: 'clients' })).address;
  }

  /** `SIGKILL`: nothing of it gets to run again. `SIGTERM`: it lets go of its terminals first. */
  endGateway(signal) {
    return this.#gateway.end(signal);
  }

  /** A session that runs a command: its id, and its terminal's address at the gateway. */
  async create(command) {
    const answer = await fetch(`http://${this.#api}/api/sessions`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${API_KEY}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ code_url: this.#codeUrl, command, install_cmd: '' }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`creating a session: ${answer.status} ${text}\n${this.log}`);
    const { sessionId, terminalUrl } = JSON.parse(text);
    const { pathname, search } = new URL(terminalUrl);
    return { sessionId, terminalUrl: `http://${this.#listen}${pathname}${search}` };
  }

  async stop() {
    await this.#gateway?.end('SIGKILL');
    await this.#controller?.end('SIGTERM');
    this.#archives?.close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Code that a session can be made of: an archive of one file, served on this machine. */
  async #serveArchive() {
    const code = join(this.#folder, 'code');
    await mkdir(code);
    await writeFile(join(code, 'README'), 'Nothing to run here.\n');
    await promisify(execFile)('tar', ['-czf', `${code}.tar.gz`, '-C', this.#folder, 'code']);
    const archive = await readFile(`${code}.tar.gz`);
    this.#archives = createServer((_request, answer) => answer.end(archive)).listen(0, '127.0.0.1');
    await once(this.#archives, 'listening');
    this.#codeUrl = `http://127.0.0.1:${this.#archives.address().port}/code.tar.gz`;
  }

  async #startController() {
    this.#controller = new Process('cliscale-controller', {
      ...this.#shared(),
      CLISCALE_LISTEN: '127.0.0.1:0',
      CLISCALE_INTERNAL_LISTEN: '127.0.0.1:0',
      CLISCALE_ADMIN_LISTEN: '127.0.0.1:0',
      CLISCALE_KEYS_DIR: join(this.#folder, 'keys'),
      CLISCALE_WORK_DIR: join(this.#folder, 'work'),
      CLISCALE_API_KEY: API_KEY,
      CLISCALE_ALLOW_PRIVATE_CODE_HOSTS: 'true',
    });
    this.#api = (await this.#controller.logged({ message: 'the controller serves' })).public;
  }

  #shared() {
    return {
      CLISCALE_DATABASE_URL: `sqlite:${join(this.#folder, 'c.db')}`,
      CLISCALE_ENCRYPTION_KEY_FILE: join(this.#folder, 'seal.key'),
    };
  }
}

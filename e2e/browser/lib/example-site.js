// The site of examples/embed, run as somebody would who copied it: with the packed @cliscale/terminal installed beside it.

import { execFile, spawn } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { SAMPLE_CLI } from './cliscale.js';

const EXAMPLE = fileURLToPath(new URL('../../../examples/embed', import.meta.url));
const PACKAGE = fileURLToPath(new URL('../../../gateway/web/element', import.meta.url));
const START_MS = 30_000;
const run = promisify(execFile);

export class ExampleSite {
  /** Of the package: what is in it, and its package.json. */
  files;
  manifest;
  port;
  #folder;
  #child;
  #exited;

  /** `server`: whose sessions it shows. */
  static async start(server) {
    const site = new ExampleSite();
    site.#folder = await mkdtemp(join(tmpdir(), 'cliscale-site-'));
    try {
      await cp(EXAMPLE, site.#folder, { recursive: true, filter: (path) => !path.includes('node_modules') });
      await site.#install();
      await site.#start(server);
    } catch (error) {
      await site.stop();
      throw error;
    }
    return site;
  }

  async stop() {
    if (this.#child && this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGTERM');
      await this.#exited;
    }
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #install() {
    const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', this.#folder], { cwd: PACKAGE });
    const [{ filename, files }] = JSON.parse(stdout);
    this.files = files;
    const into = join(this.#folder, 'node_modules/@cliscale/terminal');
    await mkdir(into, { recursive: true });
    await run('tar', ['-xzf', join(this.#folder, filename), '--strip-components=1', '-C', into]);
    this.manifest = JSON.parse(await readFile(join(into, 'package.json'), 'utf8'));
  }

  async #start(server) {
    const env = {
      ...process.env,
      PORT: '0',
      CLISCALE_API: server.listenUrl,
      CLISCALE_API_KEY: server.apiKey,
      CODE_URL: `file://${SAMPLE_CLI}`,
      COMMAND: 'node index.js run --pace 15',
      INSTALL: 'npm install',
    };
    this.#child = spawn(process.execPath, ['server.js'], { cwd: this.#folder, stdio: ['ignore', 'pipe', 'inherit'], env });
    this.#exited = new Promise((done) => this.#child.once('exit', () => done('it ended')));
    const line = new Promise((said) => readline.createInterface(this.#child.stdout).once('line', said));
    const late = new Promise((done) => setTimeout(done, START_MS, 'nothing in time').unref());
    const outcome = await Promise.race([line, late, this.#exited]);
    if (!URL.canParse(outcome)) throw new Error(`examples/embed: ${outcome}`);
    this.port = Number(new URL(outcome).port);
  }
}

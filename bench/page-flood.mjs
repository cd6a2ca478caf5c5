// How smoothly the page shows a flood: 100 MB of `base64 /dev/zero` pass through its terminal in a real Chromium, and the
// times between its frames are noted, on a `cliscale up` that this script starts itself; beside it wetty with its own page.
//
//   cargo build --release --bins && bench/install-peers && node bench/page-flood.mjs [--runs N] [--smoke] [--alone]
//
// CLISCALE_BIN: target/release/cliscale. Prints rows as the other programs of the bench do, one a line, as JSON. A page
// that nothing holds up has a frame every 16.7 ms. Without Chromium nothing is measured, but under CI that is a failure.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: { runs: { type: 'string', default: '5' }, smoke: { type: 'boolean' }, alone: { type: 'boolean' } },
});
const runs = options.smoke ? 1 : Number(options.runs);
// wetty takes more than a minute for one.
const PEERS_RUNS = 1;
const bytes = options.smoke ? 200_000 : 100_000_000;
process.env.CLISCALE_BIN ??= 'target/release/cliscale';

const BROWSER = new URL('../e2e/browser/', import.meta.url);
const WETTY = fileURLToPath(new URL('peers/page/node_modules/wetty/', import.meta.url));
if (!existsSync(new URL('node_modules/playwright-core', BROWSER))) leave('e2e/browser is not installed (bench/install-peers)');
const { launch, noChromium } = await import(new URL('lib/chromium.js', BROWSER));
if (noChromium) leave(noChromium);
const { Cliscale } = await import(new URL('lib/cliscale.js', BROWSER));

const folder = mkdtempSync(join(tmpdir(), 'cliscale-bench-'));
// It begins with a key, and stays when it is over.
const FLOOD = `read -r key; base64 /dev/zero | head -c ${bytes}; printf '\\nover\\n'; exec cat`;

function leave(why) {
  console.error(`the page is not measured: ${why}`);
  process.exit(process.env.CI === 'true' ? 1 : 0);
}

/** Ours: a session, and the page that shows it. */
async function cliscale() {
  const server = await Cliscale.start({ args: ['--create-rate', '10000/min'] });
  const url = async () => (await server.create({ code_url: folder, install_cmd: '', command: FLOOD })).terminalUrl;
  const isReady = () => window.__cliscale?.term !== undefined && window.__cliscale.state().stage === 'running';
  return { subject: 'CLI Scale', url, isReady, stop: () => server.stop() };
}

/** Another terminal's server with its page; undefined where it is not installed. */
async function wetty() {
  if (!existsSync(WETTY)) return undefined;
  const { version } = JSON.parse(readFileSync(join(WETTY, 'package.json')));
  const program = join(folder, 'flood.sh');
  writeFileSync(program, `#!/bin/bash\necho ready\n${FLOOD}\n`, { mode: 0o755 });
  const port = await freePort();
  const args = ['--host', '127.0.0.1', '--port', port, '--command', program, '--log-level', 'error'];
  const server = spawn(process.execPath, [join(WETTY, 'build/main.js'), ...args], { stdio: 'ignore' });
  const exited = new Promise((done) => server.once('exit', done));
  const url = `http://127.0.0.1:${port}/`;
  for (const deadline = Date.now() + 30_000; !(await fetch(url).catch(() => undefined))?.ok; ) {
    if (server.exitCode !== null || Date.now() > deadline) throw new Error('wetty does not serve');
    await new Promise((next) => setTimeout(next, 50));
  }
  const isReady = () => [0, 1, 2].some((row) => window.wetty_term?.buffer.active.getLine(row)?.translateToString(true) === 'ready');
  const stop = () => server.kill('SIGTERM') && exited;
  return { subject: `wetty ${version}`, url: async () => url, isReady, stop };
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** In the page: begins the flood, and notes the times between frames until its last line is on the screen. */
function watch() {
  const term = window.__cliscale?.term ?? window.wetty_term;
  const isOver = () => {
    const buffer = term.buffer.active;
    const line = (above) => buffer.getLine(buffer.baseY + buffer.cursorY - above)?.translateToString(true);
    return line(1) === 'over' || line(0) === 'over';
  };
  return new Promise((resolve) => {
    const gaps = [];
    const began = performance.now();
    let last;
    const frame = (now) => {
      if (last !== undefined) gaps.push(now - last);
      last = now;
      if (isOver()) resolve({ gaps, seconds: (performance.now() - began) / 1000 });
      else requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    term.input('\r');
  });
}

async function measure(browser, { url, isReady }) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(300_000);
    await page.goto(await url());
    await page.waitForFunction(isReady);
    return await page.evaluate(watch);
  } finally {
    await context.close();
  }
}

const FIGURES = [
  ['median', ({ gaps }) => percentile(gaps, 0.5), 'ms'],
  ['p95', ({ gaps }) => percentile(gaps, 0.95), 'ms'],
  ['p99', ({ gaps }) => percentile(gaps, 0.99), 'ms'],
  ['longest', ({ gaps }) => Math.max(...gaps), 'ms'],
];

function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

function print(measure, subject, unit, samples) {
  console.log(JSON.stringify({ measure, subject, unit, samples, goal: null }));
}

const browser = await launch();
const subjects = [];
try {
  subjects.push(await cliscale());
  const peer = options.alone ? undefined : await wetty();
  if (peer) subjects.push(peer);
  const found = subjects.map(() => []);
  for (let run = 0; run < runs; run++) {
    for (const [at, subject] of subjects.entries()) {
      if (at === 0 || run < PEERS_RUNS) found[at].push(await measure(browser, subject));
    }
  }
  const size = `${bytes / 1e6} MB pass`;
  for (const [name, figure, unit] of FIGURES) {
    for (const [at, { subject }] of subjects.entries()) print(`frames while ${size}: ${name}`, subject, unit, found[at].map(figure));
  }
  for (const [at, { subject }] of subjects.entries()) print(`until ${size} and are shown`, subject, 's', found[at].map(({ seconds }) => seconds));
} finally {
  await browser.close();
  for (const subject of subjects) await subject.stop();
  rmSync(folder, { recursive: true, force: true });
}

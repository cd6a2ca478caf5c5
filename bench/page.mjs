// The weight of the terminal's page, and how long it takes until it is of use: from the start of the navigation until the
// program's output is on the screen, and until a key that is typed then comes back as an echo. In a real Chromium, with an
// empty cache each time, on a `cliscale up` that this script starts itself; the program runs already.
//
//   cargo build --release --bins && (cd e2e/browser && npm ci) && node bench/page.mjs [RUNS] [CLISCALE]
//
// RUNS: 5. CLISCALE: target/release/cliscale. Prints medians, at a desk and on a slow phone: a quarter of the processor's
// speed, 1.6 Mbit/s and 150 ms there and back, as Lighthouse has them. Loopback counts as secure, so what is sent is
// brotli, as over https; the bodies' weight over plain http, as gzip, comes last.

import { mkdtempSync, rmSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const runs = Number(process.argv[2] ?? 5);
process.env.CLISCALE_BIN ??= process.argv[3] ?? 'target/release/cliscale';
const { launch } = await import('../e2e/browser/lib/chromium.js');
const { Cliscale } = await import('../e2e/browser/lib/cliscale.js');

const DEVICES = {
  'at a desk': { context: { viewport: { width: 1280, height: 800 } } },
  'on a slow phone': {
    context: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
    slower: 4,
    network: { offline: false, latency: 150, downloadThroughput: (1.6e6 / 8) * 0.9, uploadThroughput: (750e3 / 8) * 0.9 },
  },
};

/** In the page: notes when the program's word is on the screen, then types, and notes when that is there too. */
function watch() {
  const times = (window.__times = {});
  const isShown = (pattern) => {
    const buffer = window.__cliscale?.term.buffer.active;
    for (let row = 0; row < (buffer?.length ?? 0); row++) if (pattern.test(buffer.getLine(row).translateToString(true))) return true;
    return false;
  };
  const look = () => {
    if (times.shown === undefined && isShown(/^ready/)) {
      times.shown = performance.now();
      window.__cliscale.term.input('k');
    }
    if (times.shown !== undefined && isShown(/^readyk|^k/)) times.echoed = performance.now();
    else setTimeout(look, 1);
  };
  look();
}

async function measure(browser, server, { context: options, slower, network }) {
  const session = await server.create({ code_url: folder, install_cmd: '', command: 'printf "ready\\n"; exec cat' });
  while ((await server.get(session.sessionId)).state !== 'running') await new Promise((next) => setTimeout(next, 20));
  const context = await browser.newContext(options);
  try {
    await context.addInitScript(watch);
    const page = await context.newPage();
    const devtools = await context.newCDPSession(page);
    const found = { requests: 0, sent: 0, raw: 0, urls: [] };
    await devtools.send('Network.enable');
    devtools.on('Network.dataReceived', ({ dataLength }) => (found.raw += dataLength));
    devtools.on('Network.responseReceived', ({ response }) => found.urls.push(response.url));
    devtools.on('Network.loadingFinished', ({ encodedDataLength }) => {
      found.requests += 1;
      found.sent += encodedDataLength;
    });
    if (slower) await devtools.send('Emulation.setCPUThrottlingRate', { rate: slower });
    if (network) await devtools.send('Network.emulateNetworkConditions', network);
    await page.goto(session.terminalUrl);
    await page.waitForFunction(() => window.__times.echoed !== undefined, undefined, { timeout: 60_000 });
    return { ...found, ...(await page.evaluate(() => window.__times)) };
  } finally {
    await context.close();
  }
}

/** Bytes of a body, as a browser gets it over plain http. */
function gzipped(url) {
  return new Promise((resolve, reject) => {
    const count = (response) => {
      let bytes = 0;
      response.on('data', (chunk) => (bytes += chunk.length)).on('end', () => resolve(bytes));
    };
    get(url, { headers: { 'Accept-Encoding': 'gzip' } }, count).on('error', reject);
  });
}

function median(found, name) {
  const values = found.map((each) => each[name]).sort((a, b) => a - b);
  return values[Math.floor(values.length / 2)];
}

const folder = mkdtempSync(join(tmpdir(), 'cliscale-bench-'));
const server = await Cliscale.start({ args: ['--create-rate', '10000/min'] });
const browser = await launch();
let urls = [];
try {
  for (const [name, device] of Object.entries(DEVICES)) {
    await measure(browser, server, device); // The first pays for what a server and a browser at work have.
    const found = [];
    for (let run = 0; run < runs; run++) found.push(await measure(browser, server, device));
    const kib = (bytes) => `${(median(found, bytes) / 1024).toFixed(0)} KiB`;
    const ms = (time) => `${median(found, time).toFixed(0)} ms`;
    urls = found[0].urls;
    console.log(`${name}, ${runs} runs: ${median(found, 'requests')} requests, ${kib('sent')} sent, ${kib('raw')} unpacked; output shown after ${ms('shown')}, a key echoed after ${ms('echoed')}`);
  }
  const bodies = await Promise.all(urls.filter((url) => url.startsWith('http:')).map(gzipped));
  console.log(`over plain http: ${(bodies.reduce((sum, bytes) => sum + bytes, 0) / 1024).toFixed(0)} KiB`);
} finally {
  await browser.close();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}

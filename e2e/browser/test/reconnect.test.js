// Coming back by itself: gateways that are killed and replaced, networks that go and return. Whatever happens between,
// the screen holds every line of the program once, and the program has every line that was typed once.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch, noChromium } from '../lib/chromium.js';
import { Replicas } from '../lib/replicas.js';
import { TerminalPage, until } from '../lib/terminal-page.js';

/** Kills whose times are measured; each takes some six seconds. */
const KILLS = Number(process.env.CLISCALE_E2E_KILLS ?? 2);
/** A connection that held this long starts its next back-off small again, as one that held for hours does. */
const SETTLED_MS = 5_200;
/** Prints numbered lines all the time, and says what it was typed. */
const PROGRAM = `stty -echo; (i=0; while :; do i=$((i+1)); echo "line $i."; sleep 0.05; done) &
  while read -r typed; do echo "typed <$typed>"; done`;

const passed = (ms) => new Promise((next) => setTimeout(next, ms));

describe('a page whose connection is lost', { skip: noChromium }, () => {
  let replicas;
  let browser;

  before(async () => {
    replicas = await Replicas.start();
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await replicas?.stop();
  });

  async function enter() {
    const { terminalUrl } = await replicas.create(PROGRAM);
    const terminal = await TerminalPage.open(browser, terminalUrl);
    await terminal.shows(/line 5\./);
    return terminal;
  }

  const isOpen = (terminal) => terminal.reaches(({ connection }) => connection.kind === 'open', 'connected');
  const isLost = (terminal) => terminal.reaches(({ connection }) => connection.kind === 'waiting', 'reconnecting');
  const number = (text) => Math.max(...[...text.matchAll(/line (\d+)\./g)].map(([, found]) => Number(found)));

  /** Every line once and in order up to the present, and of what was typed each line once. */
  async function isWhole(terminal, typed) {
    const last = number(await terminal.text());
    await terminal.shows(new RegExp(`line ${last + 5}\\.`));
    for (const line of typed) await terminal.shows(new RegExp(`typed <${line}>`));
    const lines = (await terminal.text()).split('\n');
    const numbers = lines.map((line) => /^line (\d+)\.$/.exec(line)).filter(Boolean).map(([, found]) => Number(found));
    assert.deepEqual(numbers, Array.from(numbers, (_, index) => index + 1));
    assert.deepEqual(lines.filter((line) => line.startsWith('typed')), typed.map((line) => `typed <${line}>`));
  }

  test('is back within moments of a gateway’s death, again and again', async (t) => {
    const terminal = await enter();
    const typed = [];
    const times = [];
    for (let kill = 1; kill <= KILLS; kill++) {
      if (kill > 1) await passed(SETTLED_MS);
      await replicas.endGateway('SIGKILL');
      const died = performance.now();
      const starting = replicas.startGateway();
      await isLost(terminal);
      await terminal.type(`while away ${kill}\n`);
      typed.push(`while away ${kill}`);
      await starting;
      await isOpen(terminal);
      times.push(Math.round(performance.now() - died));
      await terminal.type(`back ${kill}\n`);
      typed.push(`back ${kill}`);
      await terminal.shows(new RegExp(`typed <back ${kill}>`));
    }
    await isWhole(terminal, typed);
    times.sort((a, b) => a - b);
    const at = (share) => times[Math.min(times.length - 1, Math.ceil(times.length * share) - 1)];
    t.diagnostic(`back after ${KILLS} kills of the gateway: p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, most ${times.at(-1)} ms`);
    await terminal.close();
  });

  test('says what it is doing while there is no gateway, and tries at once when told to', async () => {
    const terminal = await enter();
    await replicas.endGateway('SIGKILL');
    // The second one: the first was made before the person could read this.
    await terminal.reaches(({ connection }) => connection.kind === 'waiting' && connection.attempt >= 3, 'trying again');
    assert.match(await terminal.says('#notice'), /The connection was lost\. Attempt \d+( in \d+ s)?\. Try now/);
    assert.equal(await terminal.says('#link'), 'Reconnecting');
    await terminal.type('kept\n');
    // More than anybody types: it is refused whole, and that is said.
    await terminal.page.evaluate(() => window.__cliscale.term.input('x'.repeat(70_000), true));
    assert.match(await terminal.says('#notice'), /Too much was typed.*not kept/);
    await replicas.startGateway();
    // Many attempts have failed by now; the next one by itself may be ten seconds away.
    await until(
      async () => {
        if ((await terminal.state()).connection.kind === 'open') return true;
        const button = terminal.page.locator('#notice-button');
        if (await button.isVisible()) await button.click({ timeout: 1_000 }).catch(() => {});
        return false;
      },
      async () => `not connected: ${JSON.stringify(await terminal.state())}`,
    );
    await isWhole(terminal, ['kept']);
    await terminal.close();
  });

  test('moves on when its gateway is replaced in good order', async () => {
    const terminal = await enter();
    await replicas.endGateway('SIGTERM');
    await replicas.startGateway();
    await isOpen(terminal);
    await terminal.type('after\n');
    await isWhole(terminal, ['after']);
    await terminal.close();
  });

  test('comes back at once when the browser’s network does', async () => {
    const terminal = await enter();
    const context = terminal.page.context();
    await context.setOffline(true);
    assert.match(await terminal.says('#notice'), /no network/);
    // The connection dies meanwhile. A browser that is offline need not tell the page: what is typed goes nowhere.
    await replicas.endGateway('SIGKILL');
    await terminal.type('in a tunnel\n');
    await replicas.startGateway();
    const began = performance.now();
    await context.setOffline(false);
    await isOpen(terminal);
    const took = performance.now() - began;
    assert.ok(took < 1_500, `online for ${Math.round(took)} ms before it was connected`);
    await isWhole(terminal, ['in a tunnel']);
    await terminal.close();
  });

  test('comes back at once when it is looked at', async () => {
    const terminal = await enter();
    await replicas.endGateway('SIGKILL');
    await terminal.reaches(({ connection }) => connection.kind === 'waiting' && connection.attempt >= 3, 'waiting long');
    await replicas.startGateway();
    // Headless pages are always visible; what is told apart is that the event is acted upon before the back-off ends.
    await until(
      async () => {
        await terminal.page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
        return (await terminal.state()).connection.kind === 'open';
      },
      () => 'not connected',
    );
    await isWhole(terminal, []);
    await terminal.close();
  });
});

// Pictures that a program prints: what draws them is loaded with the first, under the page's own security policy.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { noChromium } from '../lib/chromium.js';
import { stage } from '../lib/stage.js';
import { TerminalPage, until } from '../lib/terminal-page.js';

/** 60 columns of six red dots, five times. */
const SIXEL = `\\x1bPq#0;2;100;0;0${'#0!60~-'.repeat(5)}\\x1b\\x5c`;
/** One blue dot, drawn large. */
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYPgPAAEDAQAIicLsAAAAAElFTkSuQmCC';
const ITERM = `\\x1b]1337;File=inline=1;size=69;width=8;height=3:${PNG}\\x07`;
/** Prints one or the other when told to, and what it is told of the terminal. */
const PROGRAM = `
  const does = { s: '${SIXEL}', i: '${ITERM}', d: '\\x1b[c' };
  process.stdin.setRawMode(true);
  process.stdin.on('data', (data) => {
    const text = String(data);
    if (does[text]) process.stdout.write(does[text] + '\\r\\n');
    console.log((does[text] ? 'did ' : 'got ') + JSON.stringify(text));
  });
  console.log('ready');`;
const RED = [255, 0, 0];
const BLUE = [0, 0, 255];

describe('pictures', { skip: noChromium }, () => {
  const on = stage();

  /** How many dots of the picture layer have this colour. */
  const dots = (terminal, colour) =>
    terminal.page.evaluate((wanted) => {
      const canvas = document.querySelector('canvas.xterm-image-layer');
      if (!canvas) return 0;
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      let count = 0;
      for (let at = 0; at < data.length; at += 4) if (data[at + 3] === 255 && wanted.every((part, i) => Math.abs(data[at + i] - part) < 8)) count++;
      return count;
    }, colour);
  const draws = (terminal, colour) => until(async () => (await dots(terminal, colour)) > 500, async () => `${await dots(terminal, colour)} dots`);
  const loaded = (terminal) => terminal.requests.filter((url) => url.includes('addon-image')).length;

  for (const [name, gpu] of [['without a GPU', false], ['with one', true]]) {
    test(`of both kinds are drawn, again after a reload, and loaded for only when the first one comes: ${name}`, async () => {
      const session = await on.server.create({ install_cmd: '', command: `node -e "${PROGRAM}"` });
      const terminal = await TerminalPage.open(on.browser, session.terminalUrl, { gpu });
      await terminal.shows(/ready/);
      await terminal.reaches(({ presence }) => presence?.holds, 'with the keyboard');
      await terminal.type('d');
      await terminal.shows(/got "\\u001b\[\?62;4;[0-9;]*c"/);
      assert.equal(loaded(terminal), 0);
      await terminal.type('s');
      await terminal.shows(/did "s"/);
      await draws(terminal, RED);
      await terminal.type('i');
      await terminal.shows(/did "i"/);
      await draws(terminal, BLUE);
      assert.equal(loaded(terminal), 1);
      await terminal.reload();
      await terminal.shows(/did "i"/);
      await draws(terminal, RED);
      await draws(terminal, BLUE);
      terminal.isQuiet();
      await terminal.close();
    });
  }

  test('are done without where they cannot be loaded: the terminal goes on', async () => {
    const session = await on.server.create({ install_cmd: '', command: `node -e "${PROGRAM}"` });
    const context = await on.browser.newContext();
    await context.route(/addon-image/, (route) => route.abort());
    const terminal = new TerminalPage(await context.newPage());
    await terminal.load(() => terminal.page.goto(session.terminalUrl));
    await terminal.shows(/ready/);
    await terminal.reaches(({ presence }) => presence?.holds, 'with the keyboard');
    await terminal.type('s');
    await terminal.shows(/did "s"/);
    await terminal.type('x');
    await terminal.shows(/got "x"/);
    await context.close();
  });
});

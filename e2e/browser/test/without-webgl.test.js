// A browser without WebGL, at plain http and a name that is not localhost: the page is as good, at a desk and on a phone,
// where the row of keys gives the program each of them.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch, noChromium } from '../lib/chromium.js';
import { Cliscale } from '../lib/cliscale.js';
import { DESK, PHONE, picture } from '../lib/picture.js';
import { TerminalPage } from '../lib/terminal-page.js';

const QUESTION = /Shall I go ahead\?/;
/** Says which bytes it is given, until Ctrl+C. */
const KEYS = `
  process.stdin.setRawMode(true);
  console.log('waiting');
  process.stdin.on('data', (bytes) => {
    console.log('<' + bytes.toString('hex') + '>');
    if (bytes[0] === 3) process.exit(7);
  });`.replace(/\s*\n\s*/g, ' ');
const BYTES = { escape: '1b', tab: '09', left: '1b5b44', up: '1b5b41', down: '1b5b42', right: '1b5b43' };

describe('without WebGL, over plain http', { skip: noChromium }, () => {
  let server;
  let browser;

  before(async () => {
    server = await Cliscale.start({ args: ['--public-url', 'http://term.test'] });
    browser = await launch({ hosts: { 'term.test': server.port }, webgl: false });
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  for (const [name, options] of [['desk', DESK], ['phone', PHONE]]) {
    test(`the terminal is drawn, typed in and loaded again: ${name}`, async () => {
      const session = await server.create();
      const terminal = await TerminalPage.open(browser, session.terminalUrl, options);
      await terminal.shows(QUESTION);
      const { page } = terminal;
      assert.equal(await page.evaluate(() => window.isSecureContext), false);
      await terminal.reaches(({ renderer }) => renderer === 'dom', 'drawn without WebGL');
      await terminal.type('no card\n');
      await terminal.shows(/Considering "no card"[^]*Shall I go ahead/);
      // What is in the page is what is on the screen.
      await page.locator('.xterm-rows').getByText('Considering "no card"').first().waitFor();
      await picture(terminal, `${name}-without-webgl`);
      await terminal.reload();
      await terminal.shows(/Considering "no card"/);
      await terminal.type('exit 4\n');
      assert.match(await terminal.says('#end'), /exit code 4/);
      terminal.isQuiet();
      await terminal.close();
    });
  }

  test('a phone has the keys that its own keyboard lacks', async () => {
    const session = await server.create({ install_cmd: '', command: `node -e "${KEYS}"` });
    const terminal = await TerminalPage.open(browser, session.terminalUrl, PHONE);
    await terminal.shows(/waiting/);
    await terminal.reaches(({ presence }) => presence?.holds, 'with the keyboard');
    const { page } = terminal;
    await page.locator('#terminal').tap();
    for (const [key, bytes] of Object.entries(BYTES)) {
      const button = page.locator(`[data-key=${key}]`);
      const { width, height } = await button.boundingBox();
      assert.ok(width >= 36 && height >= 36, `${key} is ${width}x${height}`);
      await button.tap();
      await terminal.shows(new RegExp(`<${bytes}>`));
      assert.equal(await page.evaluate(() => document.activeElement?.tagName), 'TEXTAREA', `${key} closes the phone's keyboard`);
    }
    await page.locator('[data-key=ctrl]').tap();
    await page.keyboard.type('c');
    assert.match(await terminal.says('#end'), /exit code 7/);
    assert.equal(await page.locator('#keys').isVisible(), false);
    terminal.isQuiet();
    await terminal.close();
  });
});

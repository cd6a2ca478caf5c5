// Plain http at a name that is not localhost: a promised mode, in which the browser withholds whatever needs a secure
// context. Typing, copying and reloading are tried there.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch, noChromium } from '../lib/chromium.js';
import { Cliscale } from '../lib/cliscale.js';
import { TerminalPage } from '../lib/terminal-page.js';

const QUESTION = /Shall I go ahead\?/;

describe('over plain http, away from localhost', { skip: noChromium }, () => {
  let server;
  let browser;

  before(async () => {
    server = await Cliscale.start({ args: ['--public-url', 'http://term.test'] });
    browser = await launch({ hosts: { 'term.test': server.port } });
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  test('typing, copying and reloading work', async () => {
    const session = await server.create();
    assert.equal(new URL(session.terminalUrl).host, 'term.test');
    const terminal = await TerminalPage.open(browser, session.terminalUrl);
    await terminal.shows(QUESTION);
    assert.equal(await terminal.page.evaluate(() => window.isSecureContext), false);

    await terminal.type('plain http\n');
    await terminal.shows(/Considering "plain http"/);

    await terminal.page.evaluate(() => {
      const { term } = window.__cliscale;
      let row = 0;
      while (term.buffer.active.getLine(row).translateToString(true) !== 'The plan') row++;
      term.select(4, row, 4);
    });
    await terminal.page.locator('#copy').click();
    assert.equal(await terminal.says('#notice'), 'Copied.');
    // Pasting is the browser's own: what was copied is typed.
    await terminal.page.locator('#terminal').click();
    await terminal.page.keyboard.press('Control+Shift+V');
    await terminal.shows(/a note\) plan$/);
    await terminal.page.keyboard.press('Control+U');

    await terminal.page.reload();
    await terminal.shows(/Considering "plain http"/);
    await terminal.type('exit 6\n');
    assert.match(await terminal.says('#end'), /exit code 6/);
    terminal.isQuiet();
    await terminal.close();
  });
});

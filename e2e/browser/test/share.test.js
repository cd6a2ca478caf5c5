// The read-only link that an operator hands out from the page.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { noChromium } from '../lib/chromium.js';
import { stage } from '../lib/stage.js';
import { TerminalPage, until } from '../lib/terminal-page.js';

const QUESTION = /Shall I go ahead\?/;

describe('a read-only link', { skip: noChromium }, () => {
  const on = stage();

  async function operator(body) {
    const session = await on.server.create(body);
    const terminal = await TerminalPage.open(on.browser, session.terminalUrl);
    await terminal.shows(QUESTION);
    return terminal;
  }

  /** What the dialog says, once it has an answer. */
  async function share(terminal) {
    await terminal.page.locator('#share').click();
    const text = () => terminal.says('#share-text');
    await until(async () => !/Making/.test(await text()), text);
    return text();
  }

  test('lets one other person watch, once, and type nothing', async () => {
    const terminal = await operator();
    assert.match(await share(terminal), /can neither type nor change its size\. It works once, until \d/);
    const link = await terminal.page.locator('#share-url').inputValue();
    await terminal.page.locator('#share-copy').click();
    assert.equal(await terminal.says('#share-copied'), 'Copied.');
    await terminal.page.keyboard.press('Escape');
    const forgotten = async () => (await terminal.page.locator('#share-url').inputValue()) === '';
    await until(forgotten, () => 'the link stays in the page');

    const viewer = await TerminalPage.open(on.browser, link, { viewport: { width: 700, height: 420 } });
    await viewer.shows(QUESTION);
    assert.equal(await viewer.says('#role'), 'View only');
    assert.equal(await viewer.page.locator('#share').isVisible(), false, 'a viewer can share');
    assert.equal(await terminal.says('#people'), '1 operator, 1 viewer');
    await viewer.page.evaluate(() => window.__cliscale.term.input('exit 9\r'));
    // The dialog gave the keys back to the terminal.
    await terminal.page.keyboard.type('for both\n');
    await viewer.shows(/Considering "for both"/);
    const late = await TerminalPage.open(on.browser, link);
    assert.match(await late.says('#card'), /already been used/);
    terminal.isQuiet();
    await Promise.all([terminal.close(), viewer.close(), late.close()]);
  });

  test('is a new one for each person', async () => {
    const terminal = await operator();
    const links = [];
    for (let round = 0; round < 2; round++) {
      await share(terminal);
      links.push(await terminal.page.locator('#share-url').inputValue());
      await terminal.page.locator('#share-close').click();
    }
    assert.notEqual(links[0], links[1]);
    await terminal.close();
  });

  test('is refused where the session forbids it, and offered no more', async () => {
    const terminal = await operator({ share: false });
    assert.equal(await share(terminal), 'This session hands out no links.');
    await terminal.page.locator('#share-close').click();
    assert.equal(await terminal.page.locator('#share').isVisible(), false);
    await terminal.close();
  });
});

// What axe finds in the page, in each of its states, at a desk and on a phone, dark and light: nothing serious.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import axe from 'axe-core';
import { noChromium } from '../lib/chromium.js';
import { stage } from '../lib/stage.js';
import { TerminalPage, until } from '../lib/terminal-page.js';

const QUESTION = /Shall I go ahead\?/;
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
const LOOKS = [
  ['at a desk, dark', { colorScheme: 'dark' }],
  ['at a desk, light', { colorScheme: 'light' }],
  ['on a phone, dark', { ...PHONE, colorScheme: 'dark' }],
  ['on a phone, light', { ...PHONE, colorScheme: 'light' }],
];
/** Copies once it is told to. */
const COPYING = `echo ready; read -r line; printf '\\033]52;c;aGVsbG8=\\007'; read -r line`;

describe('axe', { skip: noChromium }, () => {
  const on = stage();

  /** Nothing that axe calls serious or critical. Text that the program asked to be faint (SGR 2) is left out: it is. */
  async function isAccessible(terminal, state) {
    const found = await terminal.page.evaluate(`(async () => {
      ${axe.source};
      const { violations } = await axe.run({ exclude: ['.xterm-dim'] }, { resultTypes: ['violations'] });
      return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .map(({ id, nodes }) => id + ': ' + nodes.map(({ html, failureSummary }) => html.slice(0, 160) + ' ' + failureSummary).join('; '));
    })()`);
    assert.deepEqual(found, [], state);
  }

  for (const [name, options] of LOOKS) {
    test(`finds nothing serious ${name}: running, with each dialog, shared, and at the end`, async () => {
      const session = await on.server.create();
      const terminal = await TerminalPage.open(on.browser, session.terminalUrl, options);
      await terminal.shows(QUESTION);
      await terminal.reaches(({ presence }) => presence?.holds, 'with the keyboard');
      await isAccessible(terminal, 'running');

      const { page } = terminal;
      await page.locator('#menu').click();
      await isAccessible(terminal, 'the menu');
      await page.getByLabel('Screen reader mode').check();
      await page.locator('#menu-search').click();
      await page.locator('#search-text').fill('go ahead');
      await until(async () => /1 of/.test(await page.locator('#search-count').innerText()), () => 'nothing was found');
      await isAccessible(terminal, 'search, in screen reader mode');
      await page.locator('#search-text').fill('nowhere');
      await until(async () => /No match/.test(await page.locator('#search-count').innerText()), () => 'something was found');
      await isAccessible(terminal, 'a search that found nothing');
      await page.keyboard.press('Escape');

      await page.locator('#share').click();
      await terminal.says('#share-link');
      await isAccessible(terminal, 'sharing');
      await page.locator('#share-close').click();

      const second = await TerminalPage.open(on.browser, await on.server.link(session.sessionId, 'operator'), options);
      await second.says('#keyboard');
      await isAccessible(second, 'somebody else has the keyboard');
      const viewer = await TerminalPage.open(on.browser, await on.server.link(session.sessionId, 'viewer'), options);
      await viewer.says('#role');
      await viewer.shows(QUESTION);
      await isAccessible(viewer, 'watching');
      await Promise.all([second.close(), viewer.close()]);

      await terminal.type('exit 7\n');
      await terminal.says('#end');
      await isAccessible(terminal, 'ended');
      await terminal.close();

      const stranger = await TerminalPage.open(on.browser, session.terminalUrl, options);
      await stranger.says('#card');
      await isAccessible(stranger, 'refused');
      await stranger.close();
    });
  }

  for (const [name, options] of LOOKS) {
    test(`finds nothing serious ${name}: files, a session that ends soon, and its recording`, async () => {
      const session = await on.server.create({ install_cmd: '', command: 'echo ready; echo x > x.txt; read -r line', ttl_seconds: 200, max_ttl_seconds: 3_600 });
      const terminal = await TerminalPage.open(on.browser, session.terminalUrl, options);
      const { page } = terminal;
      await terminal.shows(/ready/);
      await terminal.says('#time');
      await isAccessible(terminal, 'a session that ends soon');
      await page.locator('#menu').click();
      await isAccessible(terminal, 'the menu of an operator with more time to have');
      await page.locator('#menu-files').click();
      await isAccessible(terminal, 'files');
      const [chooser] = await Promise.all([page.waitForEvent('filechooser'), page.locator('#files-choose').click()]);
      await chooser.setFiles(['x.txt', 'y.txt'].map((file) => ({ name: file, mimeType: 'text/plain', buffer: Buffer.from('z') })));
      await terminal.says('#transfer-question');
      await isAccessible(terminal, 'asked about a file');
      await page.getByRole('button', { name: 'Cancel' }).click();
      await until(async () => /Cancelled/.test(await terminal.says('#transfer')), () => terminal.says('#transfer'));
      await isAccessible(terminal, 'cancelled');

      await page.locator('#menu').click();
      const [tab] = await Promise.all([page.context().waitForEvent('page'), page.locator('#menu-watch').click()]);
      const player = new TerminalPage(tab);
      await until(async () => {
        const again = tab.locator('#card-button');
        if (await again.isVisible()) await again.click();
        return /ready/.test(await tab.evaluate(() => window.__cliscale?.text() ?? ''));
      }, () => player.says('main'));
      await isAccessible(player, 'a recording');
      await terminal.close();
      const stranger = await TerminalPage.open(on.browser, tab.url(), options);
      await stranger.says('#card');
      await isAccessible(stranger, 'a recording that is not shown');
      await stranger.close();
    });
  }

  for (const [name, options] of LOOKS.slice(0, 3)) {
    test(`finds nothing serious ${name}: asked about the clipboard, typed to, and without a network`, async () => {
      const session = await on.server.create({ install_cmd: '', command: COPYING });
      const terminal = await TerminalPage.open(on.browser, session.terminalUrl, options);
      await terminal.shows(/ready/);
      await terminal.reaches(({ presence }) => presence?.holds, 'with the keyboard');
      await terminal.type('\n');
      await terminal.says('#program-copy');
      await isAccessible(terminal, 'a program that copies');
      await terminal.page.locator('#program-copy-never').click();
      await terminal.page.keyboard.type('x');
      await terminal.reaches(({ presence }) => presence?.holds, 'with the keyboard');
      await terminal.page.context().setOffline(true);
      await terminal.says('#notice');
      await isAccessible(terminal, 'without a network');
      await terminal.close();
    });
  }
});

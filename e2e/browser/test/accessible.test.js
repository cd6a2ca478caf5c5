// What axe finds in the page, in each of its states, at a desk and on a phone, dark and light: nothing serious.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import axe from 'axe-core';
import { launch, noChromium } from '../lib/chromium.js';
import { Cliscale } from '../lib/cliscale.js';
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
  let server;
  let browser;

  before(async () => {
    server = await Cliscale.start();
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

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
      const session = await server.create();
      const terminal = await TerminalPage.open(browser, session.terminalUrl, options);
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

      const second = await TerminalPage.open(browser, await server.link(session.sessionId, 'operator'), options);
      await second.says('#keyboard');
      await isAccessible(second, 'somebody else has the keyboard');
      const viewer = await TerminalPage.open(browser, await server.link(session.sessionId, 'viewer'), options);
      await viewer.says('#role');
      await viewer.shows(QUESTION);
      await isAccessible(viewer, 'watching');
      await Promise.all([second.close(), viewer.close()]);

      await terminal.type('exit 7\n');
      await terminal.says('#end');
      await isAccessible(terminal, 'ended');
      await terminal.close();

      const stranger = await TerminalPage.open(browser, session.terminalUrl, options);
      await stranger.says('#card');
      await isAccessible(stranger, 'refused');
      await stranger.close();
    });
  }

  for (const [name, options] of LOOKS.slice(0, 3)) {
    test(`finds nothing serious ${name}: asked about the clipboard, typed to, and without a network`, async () => {
      const session = await server.create({ install_cmd: '', command: COPYING });
      const terminal = await TerminalPage.open(browser, session.terminalUrl, options);
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

// What the page looks like at a desk and on a phone: it fits, and pictures are kept in shots/ for a person to look at.

import assert from 'node:assert/strict';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { launch, noChromium } from '../lib/chromium.js';
import { Cliscale, SAMPLE_CLI } from '../lib/cliscale.js';
import { DESK, PHONE, picture, shoot } from '../lib/picture.js';
import { TerminalPage, until } from '../lib/terminal-page.js';

const QUESTION = /Shall I go ahead\?/;

describe('the page’s looks', { skip: noChromium }, () => {
  let server;
  let browser;
  let code;

  before(async () => {
    // A copy: the pictures show where the code came from, which must not be somebody's home.
    code = join(await mkdtemp(join(tmpdir(), 'cliscale-')), 'sample-cli');
    await cp(SAMPLE_CLI, code, { recursive: true, filter: (path) => !path.includes('node_modules') });
    server = await Cliscale.start();
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
    await rm(join(code, '..'), { recursive: true, force: true });
  });

  async function question(options) {
    const session = await server.create({ code_url: `file://${code}`, install_cmd: 'npm install --loglevel=error' });
    const terminal = await TerminalPage.open(browser, session.terminalUrl, options);
    await terminal.shows(QUESTION);
    return { terminal, session };
  }

  test('at a desk', async () => {
    const { terminal, session } = await question(DESK);
    await terminal.type('Please be careful\n');
    await terminal.shows(/careful"[^]*Shall I go ahead/);
    await picture(terminal, 'desk');
    await terminal.type('yes\n');
    await terminal.says('#end');
    await picture(terminal, 'desk-finished');
    const stranger = await TerminalPage.open(browser, session.terminalUrl, DESK);
    await stranger.says('#card');
    await picture(stranger, 'desk-refused');
    await Promise.all([terminal.close(), stranger.close()]);
  });

  test('at a desk that prefers light', async () => {
    const { terminal } = await question({ ...DESK, colorScheme: 'light' });
    await picture(terminal, 'desk-light');
    await terminal.close();
  });

  test('on a phone, where the row of keys works', async () => {
    const { terminal, session } = await question(PHONE);
    await picture(terminal, 'phone');
    await terminal.page.locator('#terminal').tap();
    assert.equal(await terminal.page.evaluate(() => document.activeElement?.tagName), 'TEXTAREA');
    await terminal.page.locator('[data-key=ctrl]').tap();
    await terminal.page.keyboard.type('c');
    assert.match(await terminal.says('#end'), /exit code 130/);
    await picture(terminal, 'phone-ended');
    const stranger = await TerminalPage.open(browser, session.terminalUrl, PHONE);
    await stranger.says('#card');
    await picture(stranger, 'phone-refused');
    await Promise.all([terminal.close(), stranger.close()]);
  });

  test('for two operators', async () => {
    for (const [name, options] of [['desk', DESK], ['phone', PHONE]]) {
      const { terminal, session } = await question(DESK);
      const second = await TerminalPage.open(browser, await server.link(session.sessionId, 'operator'), options);
      await second.shows(QUESTION);
      await second.says('#keyboard');
      await picture(second, `${name}-watching`);
      await second.page.locator('#keyboard-take').click();
      await second.reaches(({ presence, letterboxed }) => presence?.holds && !letterboxed, 'with the keyboard');
      await terminal.says('#keyboard');
      await picture(second, `${name}-taken`);
      await picture(terminal, `${name}-taken-from`);
      await Promise.all([terminal.close(), second.close()]);
    }
  });

  test('sharing', async () => {
    for (const [name, options] of [['desk', DESK], ['phone', PHONE]]) {
      const { terminal } = await question(options);
      await terminal.page.locator('#share').click();
      await terminal.says('#share-link');
      await picture(terminal, `${name}-share`);
      await terminal.close();
    }
  });

  test('the menu, and search', async () => {
    for (const [name, options] of [['desk', DESK], ['phone', PHONE]]) {
      const { terminal } = await question(options);
      await terminal.page.locator('#menu').click();
      await terminal.says('#menu-dialog');
      await picture(terminal, `${name}-menu`);
      await terminal.page.locator('#menu-search').click();
      await terminal.page.locator('#search-text').fill('the');
      await until(async () => /of 4/.test(await terminal.page.locator('#search-count').innerText()), () => 'nothing was found');
      await picture(terminal, `${name}-search`);
      await terminal.close();
    }
  });

  test('with files, near its end, and played again', async () => {
    for (const [name, options] of [['desk', DESK], ['phone', PHONE]]) {
      const session = await server.create({ code_url: `file://${code}`, install_cmd: 'npm install --loglevel=error', ttl_seconds: 200, max_ttl_seconds: 3_600 });
      const terminal = await TerminalPage.open(browser, session.terminalUrl, options);
      const { page } = terminal;
      await terminal.shows(QUESTION);
      await terminal.says('#time');
      await picture(terminal, `${name}-time`);
      await page.locator('#menu').click();
      await page.locator('#menu-files').click();
      await picture(terminal, `${name}-files`);
      const [chooser] = await Promise.all([page.waitForEvent('filechooser'), page.locator('#files-choose').click()]);
      await chooser.setFiles(['package.json', 'notes.md'].map((file) => ({ name: file, mimeType: 'text/plain', buffer: Buffer.from('{}') })));
      await terminal.says('#transfer-question');
      await picture(terminal, `${name}-replace`);
      await page.getByRole('button', { name: 'Keep all' }).click();
      await terminal.type('exit 0\n');
      await terminal.says('#end');
      await server.ended(session.sessionId);
      await page.locator('#menu').click();
      const [player] = await Promise.all([page.context().waitForEvent('page'), page.locator('#menu-watch').click()]);
      await until(async () => QUESTION.test(await player.evaluate(() => window.__cliscale?.text() ?? '')), () => player.locator('body').innerText());
      await shoot(player, `${name}-recording`);
      const { width } = player.viewportSize();
      const edge = await player.evaluate(() => document.querySelector('.bar').lastElementChild.getBoundingClientRect().right);
      assert.ok(edge <= width, `${name}: the bar is cut at ${edge}`);
      await terminal.close();
    }
  });

  test('for a viewer', async () => {
    const { terminal, session } = await question(DESK);
    const viewer = await TerminalPage.open(browser, await server.link(session.sessionId, 'viewer'), PHONE);
    await viewer.shows(QUESTION);
    await viewer.reaches(({ letterboxed }) => letterboxed, 'letterboxed');
    await picture(viewer, 'phone-viewer');
    await Promise.all([terminal.close(), viewer.close()]);
  });
});

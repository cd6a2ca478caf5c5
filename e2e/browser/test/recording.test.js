// What is left of a session beside its terminal: its log, its recording, and the page that plays it.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { noChromium } from '../lib/chromium.js';
import { stage } from '../lib/stage.js';
import { TerminalPage, until } from '../lib/terminal-page.js';

const PROGRAM = 'echo first line; printf "\\033[31mred\\033[0m\\n"; read -r line; echo "got $line"; exit 3';

describe('a recording', { skip: noChromium }, () => {
  // Nothing is left of a session's runner: what is there is what the controller has.
  const on = stage({ args: ['--linger-secs', '1'] });

  const start = (body = {}) => on.server.create({ install_cmd: '', command: PROGRAM, ...body });
  /** What the player shows. */
  const shown = (page) => page.evaluate(() => window.__cliscale.text());
  const plays = (page, pattern) => until(async () => pattern.test(await shown(page).catch(() => '')), () => page.locator('main').innerText());

  async function finished() {
    const session = await start();
    const terminal = await TerminalPage.open(on.browser, session.terminalUrl, { acceptDownloads: true });
    await terminal.shows(/red/);
    await terminal.type('it\n');
    await terminal.says('#end');
    await on.server.ended(session.sessionId);
    return { session, terminal };
  }
  const entry = async ({ page }, id) => {
    await page.locator('#menu').click();
    await page.locator(id).click();
  };

  test('and a log are downloaded from the terminal’s page', async () => {
    const { session, terminal } = await finished();
    const [log] = await Promise.all([terminal.page.waitForEvent('download'), entry(terminal, '#menu-log')]);
    assert.equal(log.suggestedFilename(), `${session.sessionId}.log`);
    const text = await readFile(await log.path(), 'utf8');
    assert.match(text, /first line\nred\n/);
    assert.doesNotMatch(text, /\x1b/);
    const [cast] = await Promise.all([terminal.page.waitForEvent('download'), entry(terminal, '#menu-recording')]);
    assert.equal(cast.suggestedFilename(), `${session.sessionId}.cast`);
    const lines = (await readFile(await cast.path(), 'utf8')).trimEnd().split('\n').map((line) => JSON.parse(line));
    assert.equal(lines[0].version, 3);
    assert.deepEqual(lines.at(-1).slice(1), ['x', '3']);
    terminal.isQuiet();
    await terminal.close();
  });

  test('is played in a tab of its own, with its stages, by keys alone', async () => {
    const { terminal } = await finished();
    const [page] = await Promise.all([terminal.page.context().waitForEvent('page'), entry(terminal, '#menu-watch')]);
    const player = new TerminalPage(page);
    await plays(page, /first line/);
    assert.equal(await player.says('#outcome'), 'Exit 3');
    assert.match(await player.says('#stages'), /Running \d+:\d\d/);
    await page.keyboard.press('Space');
    await plays(page, /got it/);
    await page.locator('#stages button').last().focus();
    await page.keyboard.press('Enter');
    await plays(page, /got it/);
    player.isQuiet();
    await terminal.close();
  });

  test('of a session that still runs is what there is so far, and later the rest', async () => {
    const session = await start();
    const terminal = await TerminalPage.open(on.browser, session.terminalUrl);
    await terminal.shows(/red/);
    const [page] = await Promise.all([terminal.page.context().waitForEvent('page'), entry(terminal, '#menu-watch')]);
    const player = new TerminalPage(page);
    /** What there is by now, once it is shown. A recording comes to the server a moment after it was made. */
    const load = async () => {
      const button = page.locator('#more:visible, #card-button:visible').first();
      if (await button.isVisible()) await button.click();
      await page.locator('#waiting').waitFor({ state: 'hidden' });
      if (!(await page.locator('#card').isVisible())) await plays(page, /\S/);
    };
    await page.locator('#waiting').waitFor({ state: 'hidden' });
    await until(async () => /red/.test(await shown(page)) || (await load(), false), () => page.locator('main').innerText());
    assert.match(await player.says('#unfinished'), /Still running/);
    await terminal.type('it\n');
    await terminal.says('#end');
    await until(async () => !(await page.locator('#unfinished').isVisible()) || (await load(), false), () => player.says('#unfinished'));
    await plays(page, /got it/);
    await terminal.close();
  });

  test('of an ended session is opened by a link, once, which leaves the address bar', async () => {
    const { session, terminal } = await finished();
    await terminal.close();
    const link = new URL(await on.server.link(session.sessionId, 'viewer'));
    link.pathname += '/recording';
    const player = await TerminalPage.open(on.browser, link.href);
    await plays(player.page, /got it/);
    assert.equal(new URL(player.page.url()).search, '');
    player.isQuiet();
    await player.reload();
    await plays(player.page, /got it/);
    const second = await TerminalPage.open(on.browser, link.href);
    assert.match(await second.says('#card'), /already been used/);
    const none = await TerminalPage.open(on.browser, link.origin + link.pathname);
    assert.match(await none.says('#card'), /needs its link/);
    await Promise.all([player.close(), second.close(), none.close()]);
  });

  test('follows the colours that were chosen', async () => {
    const { terminal } = await finished();
    await terminal.page.locator('#menu').click();
    await terminal.page.getByLabel('Light').check();
    await terminal.page.keyboard.press('Escape');
    const [page] = await Promise.all([terminal.page.context().waitForEvent('page'), entry(terminal, '#menu-watch')]);
    await plays(page, /first line/);
    const colours = () => page.evaluate(() => ({ page: getComputedStyle(document.body).backgroundColor, player: getComputedStyle(document.querySelector('.ap-player')).backgroundColor }));
    assert.deepEqual(await colours(), { page: 'rgb(255, 255, 255)', player: 'rgb(255, 255, 255)' });
    await terminal.close();
  });

  test('that was not made is explained, in both pages', async () => {
    const session = await start({ record: 'none' });
    const terminal = await TerminalPage.open(on.browser, session.terminalUrl);
    await terminal.shows(/red/);
    await entry(terminal, '#menu-log');
    assert.match(await terminal.says('#notice'), /Nothing of this session was recorded/);
    const [page] = await Promise.all([terminal.page.context().waitForEvent('page'), entry(terminal, '#menu-watch')]);
    assert.match(await new TerminalPage(page).says('#card'), /There is no recording/);
    await terminal.close();
  });
});

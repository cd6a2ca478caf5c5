// What a person chooses: colours, the size of letters, help for a screen reader. It is kept per browser, and never in
// the way of the program.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { noChromium } from '../lib/chromium.js';
import { stage } from '../lib/stage.js';
import { TerminalPage, until } from '../lib/terminal-page.js';

const QUESTION = /Shall I go ahead\?/;
const WHITE = 'rgb(255, 255, 255)';
const DARK = 'rgb(13, 17, 23)';

describe('the settings', { skip: noChromium }, () => {
  const on = stage();

  const open = async (options) => {
    const session = await on.server.create();
    const terminal = await TerminalPage.open(on.browser, session.terminalUrl, options);
    await terminal.shows(QUESTION);
    return { terminal, session };
  };
  const colours = (terminal) =>
    terminal.page.evaluate(() => ({ page: getComputedStyle(document.body).backgroundColor, terminal: window.__cliscale.term.options.theme.background }));
  const options = (terminal) =>
    terminal.page.evaluate(() => ({ font: window.__cliscale.term.options.fontSize, reader: window.__cliscale.term.options.screenReaderMode }));
  const openMenu = (terminal) => terminal.page.keyboard.press('Control+Shift+Comma');

  test('follow the system until a person chooses, and are kept for every terminal of the browser', async () => {
    const { terminal, session } = await open({ colorScheme: 'dark' });
    const { page } = terminal;
    assert.deepEqual(await colours(terminal), { page: DARK, terminal: '#0d1117' });
    await page.emulateMedia({ colorScheme: 'light' });
    // The style sheet follows at once, the terminal when the page is told.
    const isLight = async () => isDeepStrictEqual(await colours(terminal), { page: WHITE, terminal: '#ffffff' });
    await until(isLight, () => 'it did not follow the system');

    await page.locator('#menu').click();
    await page.getByLabel('Dark').check();
    assert.deepEqual(await colours(terminal), { page: DARK, terminal: '#0d1117' });
    await page.getByLabel('Light').check();
    await page.emulateMedia({ colorScheme: 'dark' });
    assert.deepEqual(await colours(terminal), { page: WHITE, terminal: '#ffffff' });
    await page.keyboard.press('Escape');

    // Another tab of the same browser, opened later and at the same time.
    const second = new TerminalPage(await page.context().newPage());
    await second.load(async () => second.page.goto(await on.server.link(session.sessionId, 'operator')));
    await second.shows(QUESTION);
    assert.deepEqual(await colours(second), { page: WHITE, terminal: '#ffffff' });
    await openMenu(second);
    await second.page.getByLabel('System').check();
    assert.deepEqual(await colours(second), { page: DARK, terminal: '#0d1117' });
    await until(async () => (await colours(terminal)).page === DARK, () => 'the other tab kept its colours');
    terminal.isQuiet();
    second.isQuiet();
    await terminal.close();
  });

  test('change the size of letters, and with it the program’s window', async () => {
    const { terminal } = await open();
    const { page } = terminal;
    await terminal.reaches(({ presence }) => presence?.holds, 'with the keyboard');
    const before = await terminal.size();
    await openMenu(terminal);
    for (let press = 0; press < 4; press++) await page.getByRole('button', { name: 'Larger' }).press('Enter');
    assert.equal(await terminal.says('#font-size'), '18 px');
    await until(async () => (await terminal.size()).cols < before.cols, () => 'the terminal kept its size');
    const { cols, rows } = await terminal.size();
    await terminal.shows(new RegExp(`The terminal is now ${cols}x${rows}\\.`));
    await terminal.reload();
    await terminal.shows(QUESTION);
    assert.equal((await options(terminal)).font, 18);
    await openMenu(terminal);
    await page.getByRole('button', { name: 'Reset' }).click();
    await until(async () => (await terminal.size()).cols === before.cols, () => 'the terminal kept its size');
    terminal.isQuiet();
    await terminal.close();
  });

  test('give a screen reader the terminal’s text', async () => {
    const { terminal } = await open();
    const { page } = terminal;
    const spoken = page.locator('.xterm-accessibility');
    assert.equal(await spoken.getByText(/Shall I go ahead\?/).count(), 0);
    await openMenu(terminal);
    await page.getByLabel('Screen reader mode').check();
    await page.keyboard.press('Escape');
    await spoken.getByText(/Shall I go ahead\?/).first().waitFor({ state: 'attached' });
    assert.equal((await options(terminal)).reader, true);
    await terminal.type('spoken\n');
    await spoken.getByText(/Considering "spoken"/).first().waitFor({ state: 'attached' });
    terminal.isQuiet();
    await terminal.close();
  });

  test('tell the round trip of what is typed, while there is a connection', async () => {
    const { terminal } = await open();
    assert.equal(await terminal.page.locator('#latency').isVisible(), false);
    await terminal.type('a');
    const shown = await terminal.says('#latency');
    assert.match(shown, /\d+ ms$/);
    assert.ok(Number(/(\d+) ms/.exec(shown)[1]) < 5_000, shown);
    await terminal.type('\bexit 3\n');
    await terminal.says('#end');
    await terminal.reaches(({ connection }) => connection.kind === 'ended', 'ended');
    assert.equal(await terminal.page.locator('#latency').isVisible(), false);
    await terminal.close();
  });

  test('do without storage', async () => {
    const session = await on.server.create();
    const context = await on.browser.newContext();
    await context.addInitScript(() => Object.defineProperty(window, 'localStorage', { get: () => { throw new DOMException('no', 'SecurityError'); } }));
    const terminal = new TerminalPage(await context.newPage());
    await terminal.load(() => terminal.page.goto(session.terminalUrl));
    await terminal.shows(QUESTION);
    await openMenu(terminal);
    await terminal.page.getByLabel('Light').check();
    assert.equal((await colours(terminal)).page, WHITE);
    terminal.isQuiet();
    await context.close();
  });
});

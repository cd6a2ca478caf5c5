// Search in the terminal, by keyboard alone: scrollback included, while the program goes on, and after it has ended.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { noChromium } from '../lib/chromium.js';
import { stage } from '../lib/stage.js';
import { TerminalPage, until } from '../lib/terminal-page.js';

/** Three needles far apart, and one more for each key; ends at `q`. */
const PROGRAM = `
  for (let line = 0; line < 300; line++) console.log(line % 100 === 0 ? 'Needle ' + line : 'straw ' + line);
  process.stdin.setRawMode(true);
  process.stdin.on('data', (text) => String(text) === 'q' ? process.exit() : console.log('got ' + text + ' needle'));
  console.log('ready');`;

describe('search', { skip: noChromium }, () => {
  const on = stage();

  const open = async () => {
    const session = await on.server.create({ install_cmd: '', command: `node -e "${PROGRAM}"` });
    const terminal = await TerminalPage.open(on.browser, session.terminalUrl);
    await terminal.shows(/ready/);
    await terminal.reaches(({ presence }) => presence?.holds, 'with the keyboard');
    return terminal;
  };
  const counts = (terminal, text) => {
    const shown = () => terminal.page.locator('#search-count').innerText();
    return until(async () => (await shown()) === text, async () => `${text} is ${await shown()}`);
  };
  const focuses = (terminal, what) => until(async () => (await focused(terminal)) === what, async () => `the focus is on ${await focused(terminal)}`);
  const focused = (terminal) => terminal.page.evaluate(() => document.activeElement.id || document.activeElement.tagName);
  const selected = (terminal) =>
    terminal.page.evaluate(() => {
      const { term } = window.__cliscale;
      const { y } = term.getSelectionPosition().start;
      return { text: term.getSelection(), line: term.buffer.active.getLine(y).translateToString(true) };
    });
  const inView = (terminal) =>
    terminal.page.evaluate(() => {
      const { term } = window.__cliscale;
      const { y } = term.getSelectionPosition().start;
      return y >= term.buffer.active.viewportY && y < term.buffer.active.viewportY + term.rows;
    });

  test('goes up from the newest text and back, marks what it finds, and returns the keys', async () => {
    const terminal = await open();
    const { keyboard } = terminal.page;
    assert.equal(terminal.requests.some((url) => url.includes('search')), false, 'loaded when it is asked for, not before');
    await keyboard.press('Control+Shift+F');
    assert.equal(await focused(terminal), 'search-text');
    await keyboard.type('needle');
    await counts(terminal, '3 of 3');
    assert.deepEqual(await selected(terminal), { text: 'Needle', line: 'Needle 200' });
    await keyboard.press('Enter');
    await counts(terminal, '2 of 3');
    await keyboard.press('Enter');
    await counts(terminal, '1 of 3');
    assert.deepEqual(await selected(terminal), { text: 'Needle', line: 'Needle 0' });
    assert.ok(await inView(terminal), 'what is found is scrolled to');
    await keyboard.press('Shift+Enter');
    await counts(terminal, '2 of 3');

    await keyboard.press('Tab');
    assert.equal(await focused(terminal), 'search-case');
    await keyboard.press('Space');
    await counts(terminal, 'No match');
    await keyboard.press('Space');
    await counts(terminal, '3 of 3');

    await keyboard.press('Escape');
    assert.equal(await terminal.page.locator('#search').isVisible(), false);
    await keyboard.type('x');
    await terminal.shows(/got x needle/);
    // What is selected is what is looked for next.
    await keyboard.press('Control+Shift+F');
    await counts(terminal, '4 of 4');
    terminal.isQuiet();
    await terminal.close();
  });

  test('counts what is printed meanwhile, and works after the end', async () => {
    const terminal = await open();
    const { keyboard } = terminal.page;
    await keyboard.press('Control+Shift+F');
    await keyboard.type('needle');
    await counts(terminal, '3 of 3');
    await terminal.type('y');
    await terminal.shows(/got y needle/);
    await counts(terminal, '4 of 4');
    await terminal.type('q');
    await terminal.says('#end');
    await keyboard.press('Control+Shift+F');
    await keyboard.press('F3');
    await counts(terminal, '1 of 4');
    terminal.isQuiet();
    await terminal.close();
  });

  test('is the way out of the terminal to the page’s buttons', async () => {
    const terminal = await open();
    const { keyboard } = terminal.page;
    await keyboard.press('Control+Shift+F');
    await keyboard.press('Shift+Tab');
    assert.equal(await focused(terminal), 'menu');
    await keyboard.press('Enter');
    await terminal.says('#menu-dialog');
    await keyboard.press('Escape');
    await focuses(terminal, 'TEXTAREA');
    await terminal.close();
  });
});

// A terminal whose beginning is no longer kept: whoever comes late sees the same screen as whoever saw all of it.

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { launch, noChromium } from '../lib/chromium.js';
import { Cliscale, RUNNER } from '../lib/cliscale.js';
import { TerminalPage, until } from '../lib/terminal-page.js';

/** More than is kept, then a screen with what a list of lines cannot tell; a key leads back from the alternate one. */
const PROGRAM = `seq 1 3000
  printf '\\033]2;late\\007\\033[1;31mred\\033[0m 漢字 e\\u0301 \\033[7mturned\\033[0m'
  printf '\\033[?1049h\\033[2J\\033[5;10Hin the middle\\033[3;7r\\033[?25l'
  read -r line
  printf '\\033[?1049l\\n'
  echo "typed <$line>"
  cat`;

describe('a terminal that has printed more than is kept', { skip: noChromium }, () => {
  let folder;
  let server;
  let browser;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cliscale-'));
    const runner = join(folder, 'runner');
    await writeFile(runner, `#!/bin/sh\nexec '${RUNNER}' "$@" --ring-bytes 4096\n`, { mode: 0o755 });
    server = await Cliscale.start({ args: ['--runner-bin', runner] });
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  /** What is to be seen: each cell's text and looks, the cursor, the title. */
  const screen = (terminal) =>
    terminal.page.evaluate(() => {
      const { term } = window.__cliscale;
      const { active } = term.buffer;
      const cells = [];
      for (let row = 0; row < term.rows; row++) {
        const line = active.getLine(active.baseY + row);
        for (let column = 0; column < term.cols; column++) {
          const cell = line.getCell(column);
          cells.push([cell.getChars() || ' ', cell.getWidth(), cell.getFgColor(), cell.isBold(), cell.isInverse()].join());
        }
      }
      return { buffer: active.type, at: [active.cursorX, active.cursorY], title: document.title, cells };
    });

  async function same(late, whole) {
    const equal = async () => JSON.stringify(await screen(late)) === JSON.stringify(await screen(whole));
    await until(equal, async () => {
      const [seen, wanted] = [await screen(late), await screen(whole)];
      const at = seen.cells.findIndex((cell, index) => cell !== wanted.cells[index]);
      return JSON.stringify([{ ...seen, cells: seen.cells[at] }, { ...wanted, cells: wanted.cells[at] }, at]);
    });
  }

  test('shows its screen to who comes late, and to who comes back, and goes on', async () => {
    const session = await server.create({ install_cmd: '', command: PROGRAM });
    const whole = await TerminalPage.open(browser, session.terminalUrl);
    await whole.shows(/in the middle/);
    const late = await TerminalPage.open(browser, await server.link(session.sessionId, 'viewer'));
    await late.shows(/in the middle/);
    assert.match(await late.says('#lost-text'), /KiB of output were skipped/);
    await same(late, whole);
    assert.equal((await screen(late)).buffer, 'alternate');

    await whole.type('to the main screen\n');
    for (const terminal of [whole, late]) await terminal.shows(/typed <to the main screen>/);
    await same(late, whole);
    assert.match(await late.text(), /\n2999\n3000\n/, 'the lines before are not there to scroll back to');

    const seen = await whole.size();
    await whole.page.reload();
    await whole.shows(/typed <to the main screen>/);
    assert.deepEqual(await whole.size(), seen);
    await same(late, whole);
    await whole.type('and on\n');
    await late.shows(/and on\nand on/);
    await same(late, whole);
    whole.isQuiet();

    // What it never got is in the log, in a tab of its own.
    const [log] = await Promise.all([late.page.context().waitForEvent('page'), late.page.locator('#lost-open').click()]);
    await until(async () => /\n1\n2\n3\n/.test(await log.locator('body').innerText()), () => log.url());
    assert.equal(await late.page.locator('#lost').isVisible(), false);
    late.isQuiet();
    await Promise.all([whole.close(), late.close()]);
  });
});

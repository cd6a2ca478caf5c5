// Files into the session's folder and out of it, from the page: dropped, chosen, and fetched.

import assert from 'node:assert/strict';
import { mkdtemp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { noChromium } from '../lib/chromium.js';
import { stage } from '../lib/stage.js';
import { TerminalPage, until } from '../lib/terminal-page.js';

/** Does what is typed, in the folder that files go into. */
const SHELL = 'echo ready; mkdir out; echo result > out/result.txt; while read -r line; do eval "$line"; done';

describe('files', { skip: noChromium }, () => {
  const on = stage();

  async function open(body = {}) {
    const session = await on.server.create({ install_cmd: '', command: SHELL, ...body });
    const terminal = await TerminalPage.open(on.browser, session.terminalUrl, { acceptDownloads: true });
    await terminal.shows(/ready/);
    await terminal.reaches(({ presence }) => presence?.holds, 'with the keyboard');
    return { terminal, session };
  }
  const openDialog = async ({ page }) => {
    await page.locator('#menu').click();
    await page.locator('#menu-files').click();
    await page.locator('#files-dialog').waitFor();
  };
  const told = (terminal, pattern) => until(async () => pattern.test(await terminal.says('#transfer')), () => terminal.says('#transfer'));
  const drop = async ({ page }, files) => {
    const transfer = await page.evaluateHandle((list) => {
      const made = new DataTransfer();
      for (const [name, text] of list) made.items.add(new File([text], name));
      return made;
    }, Object.entries(files));
    await page.dispatchEvent('#terminal', 'dragover', { dataTransfer: transfer });
    await page.dispatchEvent('#terminal', 'drop', { dataTransfer: transfer });
  };
  const download = async ({ page }, press) => {
    const [got] = await Promise.all([page.waitForEvent('download'), press()]);
    return { name: got.suggestedFilename(), bytes: await readFile(await got.path()) };
  };

  test('that are dropped onto the terminal are in the command’s folder', async () => {
    const { terminal } = await open();
    await drop(terminal, { 'a b.txt': 'first\n', 'ü.txt': 'second\n' });
    await told(terminal, /2 files were uploaded\./);
    await terminal.type('cat "a b.txt" ü.txt\n');
    await terminal.shows(/\nfirst\nsecond/);
    await terminal.close();
  });

  test('are replaced only where the person says so', async () => {
    const { terminal } = await open();
    const { page } = terminal;
    const content = async (text) => {
      await terminal.type('echo "now $(cat a.txt) $(cat b.txt)"\n');
      await terminal.shows(new RegExp(`\nnow ${text}`));
    };
    await drop(terminal, { 'a.txt': 'a1', 'b.txt': 'b1' });
    await told(terminal, /2 files/);
    await drop(terminal, { 'a.txt': 'a2', 'b.txt': 'b2' });
    assert.match(await terminal.says('#transfer-asked'), /a\.txt is there already\. Replace it\?/);
    await page.getByRole('button', { name: 'Keep', exact: true }).click();
    await until(async () => /b\.txt is there/.test(await terminal.says('#transfer-asked')), () => terminal.says('#transfer-asked'));
    // By keys alone: the buttons are a shortcut away from the terminal.
    await page.keyboard.press('Control+Shift+Period');
    await page.getByRole('button', { name: 'Replace', exact: true }).focus();
    await page.keyboard.press('Enter');
    await told(terminal, /b\.txt was uploaded\. 1 file left as it is\./);
    await content('a1 b2');
    await drop(terminal, { 'a.txt': 'a3', 'b.txt': 'b3' });
    await page.getByRole('button', { name: 'Replace all' }).click();
    await told(terminal, /2 files were uploaded/);
    await content('a3 b3');
    await drop(terminal, { 'a.txt': 'a4' });
    await terminal.says('#transfer-asked');
    await page.getByRole('button', { name: 'Cancel' }).click();
    await told(terminal, /Cancelled\./);
    await content('a3 b3');
    await terminal.close();
  });

  test('come in by folders, with their names', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'cliscale-upload-'));
    try {
      await mkdir(join(folder, 'tree', 'deep'), { recursive: true });
      await writeFile(join(folder, 'tree', 'one'), '1');
      await writeFile(join(folder, 'tree', 'deep', 'two'), '2');
      const { terminal } = await open();
      await openDialog(terminal);
      const [chooser] = await Promise.all([terminal.page.waitForEvent('filechooser'), terminal.page.locator('#files-choose-folder').click()]);
      await chooser.setFiles(join(folder, 'tree'));
      await told(terminal, /2 files were uploaded/);
      await terminal.type('echo "have $(find tree -type f | sort | tr "\\n" " ")"\n');
      await terminal.shows(/\nhave tree\/deep\/two tree\/one/);
      await terminal.close();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  test('are fetched one by one or all together, and after the end as well', async () => {
    const { terminal } = await open();
    const { page } = terminal;
    await openDialog(terminal);
    await page.locator('#files-path').fill('./out/result.txt');
    const one = await download(terminal, () => page.locator('#files-path').press('Enter'));
    assert.deepEqual([one.name, `${one.bytes}`], ['result.txt', 'result\n']);
    await told(terminal, /result\.txt was downloaded/);
    await terminal.type('echo last > last.txt; exit 3\n');
    await terminal.says('#end');
    await openDialog(terminal);
    const all = await download(terminal, () => page.locator('#files-all').click());
    assert.match(all.name, /\.tar\.gz$/);
    assert.deepEqual([...all.bytes.subarray(0, 2)], [0x1f, 0x8b]);
    terminal.isQuiet();
    await terminal.close();
  });

  test('that are not there, or cannot be had, are explained', async () => {
    const { terminal } = await open();
    const { page } = terminal;
    await openDialog(terminal);
    await page.getByRole('button', { name: 'Download', exact: true }).click();
    assert.match(await terminal.says('#files-problem'), /Name a file/);
    await page.locator('#files-path').fill('nowhere.txt');
    await page.locator('#files-path').press('Enter');
    await told(terminal, /nowhere\.txt: There is no such file\./);
    await page.locator('#transfer-hide').click();
    await openDialog(terminal);
    await page.locator('#files-path').fill('out');
    await page.locator('#files-path').press('Enter');
    await told(terminal, /out: That is no plain file\./);
    await terminal.close();
  });

  test('are not for whoever watches', async () => {
    const { terminal, session } = await open();
    const viewer = await TerminalPage.open(on.browser, await on.server.link(session.sessionId, 'viewer'));
    await viewer.shows(/ready/);
    await viewer.page.locator('#menu').click();
    await viewer.page.locator('#menu-watch').waitFor();
    assert.equal(await viewer.page.locator('#menu-files').isVisible(), false);
    await viewer.page.keyboard.press('Escape');
    await drop(viewer, { 'x.txt': 'x' });
    assert.match(await viewer.says('#notice'), /Whoever watches uploads nothing/);
    await Promise.all([terminal.close(), viewer.close()]);
  });
});

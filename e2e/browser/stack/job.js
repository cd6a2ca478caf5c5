// The whole job in a browser, on a stack that somebody else started: `node stack/job.js TERMINAL_URL`, where the session
// runs `node index.js run` of sample-cli. Types an answer, sees that nobody else gets in by the same link, reloads,
// and finishes with exit code 6. CLISCALE_E2E_ANY_CERTIFICATE lets the address be one of
// https that nobody vouches for. What goes wrong is said on standard error, with a picture where CLISCALE_EVIDENCE_DIR
// names a folder.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { launch } from '../lib/chromium.js';
import { TerminalPage } from '../lib/terminal-page.js';

const url = process.argv[2];
assert.ok(url, 'usage: node stack/job.js TERMINAL_URL');

const options = process.env.CLISCALE_E2E_ANY_CERTIFICATE ? { ignoreHTTPSErrors: true } : {};
const browser = await launch();
let terminal;
try {
  terminal = await TerminalPage.open(browser, url, options);
  await terminal.shows(/Shall I go ahead\?/);
  await terminal.type('from the browser\n');
  await terminal.shows(/Considering "from the browser"/);

  const stranger = await TerminalPage.open(browser, url, options);
  assert.match(await stranger.says('#card'), /already been used.*fresh one/);
  await stranger.close();

  await terminal.reload();
  await terminal.shows(/Considering "from the browser"/);
  await terminal.type('exit 6\n');
  assert.match(await terminal.says('#end'), /exit code 6/);
  terminal.isQuiet();
  console.log('ok');
} catch (error) {
  console.error(error);
  process.exitCode = 1;
  const folder = process.env.CLISCALE_EVIDENCE_DIR;
  // What went wrong may be why there is no picture either.
  if (folder && terminal) await terminal.page.screenshot({ path: join(folder, 'browser.png') }).catch(() => {});
} finally {
  await browser.close();
}

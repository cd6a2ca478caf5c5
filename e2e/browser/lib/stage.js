// What a group of browser tests runs on: a server and a browser of its own, there before its first test and gone after
// its last.

import { after, before } from 'node:test';
import { launch } from './chromium.js';
import { Cliscale } from './cliscale.js';

/** To be called in a `describe`; what it gives is filled before the tests run. `options`: the server's. */
export function stage(options) {
  const on = { server: undefined, browser: undefined };
  before(async () => {
    on.server = await Cliscale.start(options);
    on.browser = await launch();
  });
  after(async () => {
    await on.browser?.close();
    await on.server?.stop();
  });
  return on;
}

// The browser: the system's Chromium, never one that is downloaded.

import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

const PATH = process.env.CHROMIUM ?? '/usr/bin/chromium';
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** For node:test's `skip`: a reason where there is no browser, unless this is CI, where that is a failure. */
export const noChromium = !existsSync(PATH) && process.env.CI !== 'true' ? `no Chromium at ${PATH} (apt-get install chromium, or set CHROMIUM)` : false;

/** `hosts` maps names, as in an address, to ports on this machine: `{'term.test': 8080}`. */
export function launch({ hosts = {}, webgl = true } = {}) {
  const rules = Object.entries(hosts).map(([name, port]) => `MAP ${name}:80 127.0.0.1:${port}`);
  const args = [...FLAGS];
  if (rules.length > 0) args.push(`--host-resolver-rules=${rules.join(',')}`);
  if (!webgl) args.push('--disable-3d-apis');
  return chromium.launch({ executablePath: PATH, args });
}

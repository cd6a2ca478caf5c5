// Pictures of the page at a desk and on a phone, kept in shots/ for a person to look at.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

export const DESK = { viewport: { width: 1280, height: 800 }, colorScheme: 'dark' };
export const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, colorScheme: 'dark' };

const SHOTS = fileURLToPath(new URL('../shots/', import.meta.url));

export async function shoot(page, name) {
  await mkdir(SHOTS, { recursive: true });
  await page.screenshot({ path: `${SHOTS}${name}.png` });
}

/** Takes a picture, and checks that nothing has to be scrolled sideways and that the terminal is inside the window. */
export async function picture(terminal, name) {
  const { page } = terminal;
  await terminal.reaches(({ drained }) => drained, 'drained');
  await shoot(page, name);
  const { width, height } = page.viewportSize();
  const found = await page.evaluate(() => {
    const { right, bottom } = document.querySelector('.xterm-screen').getBoundingClientRect();
    return { scrollWidth: document.documentElement.scrollWidth, scrollHeight: document.documentElement.scrollHeight, right, bottom };
  });
  assert.ok(found.scrollWidth <= width && found.scrollHeight <= height, `${name} scrolls: ${JSON.stringify(found)}`);
  assert.ok(found.right <= width && found.bottom <= height, `${name} is cut: ${JSON.stringify(found)}`);
}

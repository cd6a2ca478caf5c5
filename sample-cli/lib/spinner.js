// One line of progress: it turns in a terminal, and is one plain line elsewhere.

import { setTimeout as pause } from 'node:timers/promises';
import pc from 'picocolors';

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const TURNS = 10;
const CLEAR_LINE = '\r\x1b[2K';

export class Spinner {
  #out;
  #paceMs;

  constructor(out, paceMs) {
    this.#out = out;
    this.#paceMs = paceMs;
  }

  async during(label, result) {
    if (this.#out.isTTY && this.#paceMs > 0) {
      for (let turn = 0; turn < TURNS; turn++) {
        this.#out.write(`${CLEAR_LINE}${pc.cyan(FRAMES[turn % FRAMES.length])} ${label} ${pc.dim('…')}`);
        await pause(this.#paceMs);
      }
      this.#out.write(CLEAR_LINE);
    }
    this.#out.write(`${pc.green('✔')} ${label} ${pc.dim(result)}\n`);
  }
}

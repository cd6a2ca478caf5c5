// The row of keys that a phone's keyboard lacks: Esc, Tab, Ctrl (for the next letter) and the arrows.

import type { Terminal } from '@xterm/xterm';

const PLAIN: Record<string, string> = { escape: '\x1b', tab: '\t' };
const ARROWS: Record<string, string> = { up: 'A', down: 'B', right: 'C', left: 'D' };

export class TouchKeys {
  private ctrl = false;

  constructor(private readonly row: HTMLElement, private readonly term: Terminal) {
    // A press must not take the focus from the terminal: that would close the phone's keyboard.
    row.addEventListener('pointerdown', (event) => event.preventDefault());
    row.addEventListener('click', (event) => {
      const key = (event.target as HTMLElement).closest('button')?.dataset.key;
      if (key) this.press(key);
    });
  }

  /** Makes the letter after Ctrl a control character (C0: the letter's lowest five bits). */
  filter(text: string): string {
    if (!this.ctrl) return text;
    this.setCtrl(false);
    return /^[a-z@[\\\]^_]$/i.test(text) ? String.fromCharCode(text.toUpperCase().charCodeAt(0) & 0x1f) : text;
  }

  private press(key: string): void {
    if (key === 'ctrl') this.setCtrl(!this.ctrl);
    else if (PLAIN[key] !== undefined) this.term.input(PLAIN[key]);
    else if (ARROWS[key] !== undefined) {
      this.term.input(`\x1b${this.term.modes.applicationCursorKeysMode ? 'O' : '['}${ARROWS[key]}`);
    }
    this.term.focus();
  }

  private setCtrl(on: boolean): void {
    this.ctrl = on;
    this.row.querySelector('[data-key=ctrl]')?.setAttribute('aria-pressed', String(on));
  }
}

// What a person copies out of the terminal and pastes into it: the button in the bar, Ctrl+Shift+C, the right button.
// Ctrl+Shift+V is the browser's own; xterm.js brackets what it pastes where the program asked for that.

import type { Terminal } from '@xterm/xterm';
import { copyText } from './clipboard';

export interface CopyPasteDeps {
  term: Terminal;
  host: HTMLElement;
  notice: (text: string) => void;
  /** Whether the right button copies and pastes, as the person has chosen. */
  rightClick: () => boolean;
}

export class CopyPaste {
  constructor(private readonly deps: CopyPasteDeps) {
    const { term, host } = deps;
    document.getElementById('copy')!.addEventListener('click', () => void this.copy());
    term.attachCustomKeyEventHandler((event) => {
      if (!event.ctrlKey || !event.shiftKey || event.code !== 'KeyC') return true;
      // Also with nothing to copy: the browser's developer tools are not what is meant here.
      event.preventDefault();
      if (event.type === 'keydown' && term.hasSelection()) void this.copy();
      return false;
    });
    // Before xterm.js, which selects a word or makes room for the browser's menu.
    host.addEventListener('contextmenu', (event) => this.rightButton(event as PointerEvent), { capture: true });
  }

  private async copy(): Promise<void> {
    const copied = await copyText(this.deps.term.getSelection());
    this.deps.notice(copied ? 'Copied.' : 'This browser did not allow copying.');
  }

  /** Left to the browser: with Shift, as a long press of a finger, and where the page may not read the clipboard. */
  private rightButton(event: PointerEvent): void {
    const { term } = this.deps;
    if (event.shiftKey || event.pointerType === 'touch') return;
    if (term.modes.mouseTrackingMode !== 'none') {
      // The program has the mouse, and with it this press.
      event.preventDefault();
      return;
    }
    if (!this.deps.rightClick()) return;
    if (term.hasSelection()) {
      take(event);
      void this.copy().then(() => term.clearSelection());
    } else if (!term.options.disableStdin && window.isSecureContext && typeof navigator.clipboard?.readText === 'function') {
      take(event);
      void this.paste();
    }
  }

  private async paste(): Promise<void> {
    const { term } = this.deps;
    try {
      const text = await navigator.clipboard.readText();
      if (text !== '') term.paste(text);
    } catch {
      this.deps.notice('This browser did not allow pasting. Use Ctrl+Shift+V, or Shift with the right button.');
    }
    term.focus();
  }
}

function take(event: Event): void {
  event.preventDefault();
  event.stopPropagation();
}

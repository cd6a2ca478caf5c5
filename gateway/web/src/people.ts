// Who else is there and whose the keyboard is, as the page shows it: the count in the bar, and what takes the keyboard
// over. The only module that touches those elements.

import type { KeyboardNews } from './keyboard';
import type { Presence, Role } from './protocol';

/** Long enough to read two choices and make one; the bar's button stays. */
const OFFER_MS = 15_000;

const NEWS: Record<Exclude<KeyboardNews, null>, string> = {
  taken: 'Somebody else has taken the keyboard. You are watching.',
  elsewhere: 'Somebody else has the keyboard. You are watching.',
};

export class People {
  private readonly count = element('people');
  private readonly take = element('take');
  private readonly offer = element('keyboard');
  private timer: ReturnType<typeof setTimeout> | null = null;

  /** `takeOver` is told whether whoever has the keyboard is to leave; `say` tells assistive technology. */
  constructor(takeOver: (leave: boolean) => void, private readonly say: (text: string) => void) {
    this.take.addEventListener('click', () => takeOver(false));
    element('keyboard-take').addEventListener('click', () => takeOver(false));
    element('keyboard-leave').addEventListener('click', () => takeOver(true));
  }

  show({ operators, viewers, holds, held }: Presence, role: Role): void {
    const text = operators + viewers > 1 ? [counted(operators, 'operator'), counted(viewers, 'viewer')].filter(Boolean).join(', ') : '';
    // Said once per change, since the element is a live region.
    if (element('people-text').textContent !== text) {
      element('people-text').textContent = text;
      element('people-number').textContent = text === '' ? '' : `${operators + viewers}`;
      this.count.title = text;
    }
    const elsewhere = role === 'operator' && held && !holds;
    this.take.hidden = !elsewhere;
    if (!elsewhere) this.hideOffer();
  }

  /** Who has the keyboard, with both ways to get it. `aside` is what else there is to know. */
  tell(news: Exclude<KeyboardNews, null>, aside = ''): void {
    const text = aside === '' ? NEWS[news] : `${NEWS[news]} ${aside}`;
    const repeated = !this.offer.hidden && element('keyboard-text').textContent === text;
    this.hideOffer();
    element('keyboard-text').textContent = text;
    this.offer.hidden = false;
    this.timer = setTimeout(() => this.hideOffer(), OFFER_MS);
    if (!repeated) this.say(text);
  }

  /** Nobody is there as far as this page knows: it is not connected, or the program is over. */
  gone(): void {
    this.show({ operators: 0, viewers: 0, holds: false, held: false }, 'viewer');
  }

  private hideOffer(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.offer.hidden = true;
  }
}

function counted(number: number, noun: string): string {
  return number === 0 ? '' : `${number} ${noun}${number === 1 ? '' : 's'}`;
}

function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

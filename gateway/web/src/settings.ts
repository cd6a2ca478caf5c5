// The menu in the bar: search, and what a person chooses for every terminal of this browser. The only module that
// touches its elements.

import { MAX_FONT_PX, MIN_FONT_PX, type Chosen, type Preferences, type ThemeChoice } from './preferences';

export interface SettingsDeps {
  preferences: Preferences;
  /** The size of letters where none was chosen. */
  usualFontPx: number;
  search: () => void;
  /** What the other entries do, by their ids; the terminal has the keys again before. */
  entries?: Record<string, () => void>;
  /** The menu is opened: whether its entries are possible is looked at. */
  opened?: () => void;
  /** The menu is closed: the terminal has the keys again. */
  closed: () => void;
}

export class Settings {
  private readonly button = element('menu');
  private readonly dialog = element('menu-dialog') as HTMLDialogElement;
  /** What was chosen, and is done once the menu is closed. */
  private next: (() => void) | null = null;

  constructor(private readonly deps: SettingsDeps) {
    this.button.addEventListener('click', () => this.open());
    element('menu-close').addEventListener('click', () => this.dialog.close());
    this.entry('menu-search', () => deps.search());
    for (const [id, action] of Object.entries(deps.entries ?? {})) {
      this.entry(id, () => {
        deps.closed();
        action();
      });
    }
    this.dialog.addEventListener('click', (event) => {
      // Beside the menu: its own elements, and the room between them, are all inside of the form.
      if (event.target === this.dialog) this.dialog.close();
    });
    this.dialog.addEventListener('close', () => this.leave());
    this.listen();
    deps.preferences.follow((chosen) => this.show(chosen));
  }

  open(): void {
    this.deps.opened?.();
    if (document.querySelector('dialog[open]') === null) this.dialog.showModal();
    this.button.setAttribute('aria-expanded', 'true');
  }

  private leave(): void {
    this.button.setAttribute('aria-expanded', 'false');
    const next = this.next ?? this.deps.closed;
    this.next = null;
    next();
  }

  private entry(id: string, action: () => void): void {
    element(id).addEventListener('click', () => {
      this.next = action;
      this.dialog.close();
    });
  }

  private listen(): void {
    const { preferences } = this.deps;
    for (const choice of this.themes()) {
      choice.addEventListener('change', () => preferences.choose({ theme: choice.value as ThemeChoice }));
    }
    const grow = (by: number) => preferences.choose({ fontPx: this.fontPx(preferences.get()) + by });
    element('font-smaller').addEventListener('click', () => grow(-1));
    element('font-larger').addEventListener('click', () => grow(1));
    element('font-usual').addEventListener('click', () => preferences.choose({ fontPx: null }));
    const reader = element('screen-reader') as HTMLInputElement;
    reader.addEventListener('change', () => preferences.choose({ screenReader: reader.checked }));
    const right = element('right-click') as HTMLInputElement;
    right.addEventListener('change', () => preferences.choose({ rightClickPastes: right.checked }));
  }

  private show(chosen: Readonly<Chosen>): void {
    for (const choice of this.themes()) choice.checked = choice.value === chosen.theme;
    const size = this.fontPx(chosen);
    element('font-size').textContent = `${size} px`;
    (element('font-smaller') as HTMLButtonElement).disabled = size <= MIN_FONT_PX;
    (element('font-larger') as HTMLButtonElement).disabled = size >= MAX_FONT_PX;
    (element('font-usual') as HTMLButtonElement).disabled = chosen.fontPx === null;
    (element('screen-reader') as HTMLInputElement).checked = chosen.screenReader;
    (element('right-click') as HTMLInputElement).checked = chosen.rightClickPastes;
  }

  private fontPx(chosen: Readonly<Chosen>): number {
    return chosen.fontPx ?? this.deps.usualFontPx;
  }

  private themes(): HTMLInputElement[] {
    return Array.from(this.dialog.querySelectorAll<HTMLInputElement>('input[name=theme]'));
  }
}

function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

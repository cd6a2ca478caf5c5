// Search in the terminal's text, scrollback included. As in a terminal elsewhere it goes upwards, from the newest text to
// older. The only module that touches the panel's elements; what searches is loaded when it is first asked for.

import type { ISearchOptions, SearchAddon } from '@xterm/addon-search';
import type { Terminal } from '@xterm/xterm';
import type { SearchColours } from './theme';

/** More matches than this are found, but neither counted nor marked. */
const MARKED = 1_000;

type Finder = Pick<SearchAddon, 'findNext' | 'findPrevious' | 'clearDecorations' | 'onDidChangeResults'>;
type Direction = 'older' | 'newer';

export interface SearchDeps {
  term: Pick<Terminal, 'getSelection' | 'clearSelection' | 'focus'>;
  load: () => Promise<Finder>;
  colours: () => SearchColours;
  failed: (text: string) => void;
}

export class Search {
  private readonly panel = element('search');
  private readonly field = element('search-text') as HTMLInputElement;
  private readonly exactly = element('search-case');
  private finder: Finder | null = null;
  private loading: Promise<Finder> | null = null;

  constructor(private readonly deps: SearchDeps) {
    this.field.addEventListener('input', () => this.restart());
    this.panel.addEventListener('keydown', (event) => this.key(event));
    element('search-older').addEventListener('click', () => this.find('older'));
    element('search-newer').addEventListener('click', () => this.find('newer'));
    element('search-close').addEventListener('click', () => this.close());
    this.exactly.addEventListener('click', () => {
      this.exactly.setAttribute('aria-pressed', String(!this.caseSensitive));
      this.restart();
    });
  }

  get isOpen(): boolean {
    return !this.panel.hidden;
  }

  /** Opens the panel, or returns to it. A selection within one line is what is looked for. */
  open(): void {
    const selected = this.deps.term.getSelection();
    this.panel.hidden = false;
    if (selected !== '' && !/[\r\n]/.test(selected)) this.field.value = selected;
    this.field.focus();
    this.field.select();
    void this.ready().then((finder) => finder && this.isOpen && this.restart());
  }

  /** The terminal's colours have changed, and with them those of what is marked. */
  recolour(): void {
    if (this.isOpen) this.restart();
  }

  close(): void {
    this.panel.hidden = true;
    this.finder?.clearDecorations();
    this.deps.term.focus();
  }

  private get caseSensitive(): boolean {
    return this.exactly.getAttribute('aria-pressed') === 'true';
  }

  private async ready(): Promise<Finder | null> {
    try {
      this.loading ??= this.deps.load().then((finder) => {
        finder.onDidChangeResults(({ resultIndex, resultCount }) => this.count(resultIndex, resultCount));
        this.finder = finder;
        return finder;
      });
      return await this.loading;
    } catch {
      // Asked for again with the next opening.
      this.loading = null;
      this.deps.failed('Search could not be loaded. Try again, or reload the page.');
      return null;
    }
  }

  private key(event: KeyboardEvent): void {
    if (event.key === 'Escape') this.close();
    else if (event.key === 'F3') this.find(event.shiftKey ? 'older' : 'newer');
    else if (event.key === 'Enter' && event.target === this.field && !event.isComposing) this.find(event.shiftKey ? 'newer' : 'older');
    else return;
    event.preventDefault();
  }

  /** Looks anew, where what is looked for has changed: what is found may stay where it is. */
  private restart(): void {
    // Else the add-on takes the old matches for those of a search that only goes on.
    this.finder?.clearDecorations();
    this.find('older', true);
  }

  private find(direction: Direction, incremental = false): void {
    const text = this.field.value;
    if (!this.finder) return;
    if (text === '') {
      this.finder.clearDecorations();
      this.deps.term.clearSelection();
      this.tell('');
      return;
    }
    const options: ISearchOptions = { caseSensitive: this.caseSensitive, incremental, decorations: this.deps.colours() };
    const found = direction === 'newer' ? this.finder.findNext(text, options) : this.finder.findPrevious(text, options);
    if (!found) this.tell('No match');
  }

  private count(index: number, count: number): void {
    if (this.field.value === '' || !this.isOpen) return;
    if (count === 0) this.tell('No match');
    else if (count >= MARKED || index < 0) this.tell(count >= MARKED ? `${MARKED} or more` : `${count} found`);
    // The add-on counts from the oldest.
    else this.tell(`${index + 1} of ${count}`);
  }

  private tell(text: string): void {
    const count = element('search-count');
    if (count.textContent !== text) count.textContent = text;
    this.panel.classList.toggle('none', text === 'No match');
  }
}

/** The add-on, loaded into the terminal. */
export async function loadSearch(term: Terminal): Promise<Finder> {
  const { SearchAddon } = await import('@xterm/addon-search');
  const addon = new SearchAddon({ highlightLimit: MARKED });
  term.loadAddon(addon);
  return addon;
}

function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

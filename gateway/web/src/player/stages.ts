// The recording's stages as buttons, and its end as a word. The only module that touches those elements.

import { stageLabel } from '../explain';
import { clock, type Cast, type Marker } from './cast';

const STAGES = new Set(['assigned', 'fetching', 'installing', 'running', 'ended']);
/** More are on the player's own time line. */
const SHOWN = 30;

export function showStages({ markers }: Cast, go: (marker: Marker) => void): void {
  const row = element('stages');
  row.replaceChildren(...markers.slice(0, SHOWN).map((marker) => button(marker, go)));
  row.hidden = markers.length === 0;
}

function button(marker: Marker, go: (marker: Marker) => void): HTMLElement {
  const made = document.createElement('button');
  made.type = 'button';
  made.className = 'button';
  const label = STAGES.has(marker.label) ? stageLabel(marker.label) : marker.label || 'Mark';
  const time = document.createElement('time');
  time.textContent = clock(marker.time);
  made.append(`${label} `, time);
  made.addEventListener('click', () => go(marker));
  return made;
}

export function showOutcome({ exit }: Cast): void {
  const pill = element('outcome');
  pill.hidden = exit === null;
  pill.dataset.outcome = exit === '0' ? 'ok' : 'failed';
  pill.textContent = exit === '0' ? 'Finished' : `Exit ${exit ?? ''}`;
  element('unfinished').hidden = exit !== null;
}

function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

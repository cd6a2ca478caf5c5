// The page's own script: shows the terminal, and what becomes of it.
import '/terminal.js';

const terminal = document.querySelector('cliscale-terminal');
const find = (id) => document.getElementById(id);

/** A fresh link to this visitor's session. */
async function link() {
  const { terminalUrl, message } = await (await fetch('/terminal', { method: 'POST' })).json();
  if (!terminalUrl) throw new Error(message);
  return terminalUrl;
}

const say = (text) => (find('status').textContent = text);
terminal.addEventListener('state', ({ detail: { state, stage, reason } }) => {
  if (state !== 'ended') say(state === 'open' ? `Connected: ${stage}` : (reason ?? state));
});
terminal.addEventListener('title', ({ detail }) => (document.title = `${detail.title} · My product`));
terminal.addEventListener('exit', ({ detail }) => say(`Ended: ${detail.signal ?? `exit code ${detail.code}`}`));
terminal.addEventListener('failed', ({ detail }) => say(detail.message));

find('theme').addEventListener('change', ({ target }) => (terminal.theme = target.value));
find('size').addEventListener('input', ({ target }) => (terminal.fontSize = target.valueAsNumber));
find('focus').addEventListener('click', () => terminal.focus());

// Whenever the terminal needs to be let in again and cannot come back by itself.
terminal.getToken = link;
try {
  terminal.src = await link();
} catch (error) {
  say(error.message);
}

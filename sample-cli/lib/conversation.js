// Questions and answers over a terminal or a pipe. Lines that come before they are asked for are kept, as a terminal keeps
// what is typed ahead; an end of input is an answer too.

import readline from 'node:readline';

export class Conversation {
  #rl;
  #out;
  #lines = [];
  #ended = null;
  #waiting = null;

  constructor(input, output) {
    this.#out = output;
    this.#rl = readline.createInterface({ input, output, terminal: Boolean(input.isTTY && output.isTTY) });
    this.#rl.on('line', (text) => this.#take({ kind: 'line', text }));
    this.#rl.on('SIGINT', () => this.#end({ kind: 'interrupted' }));
    this.#rl.on('close', () => this.#end({ kind: 'eof' }));
  }

  /** Resolves with `{kind: 'line', text}`, `{kind: 'eof'}` or `{kind: 'interrupted'}`. */
  ask(question) {
    this.#rl.setPrompt(question);
    const line = this.#lines.shift();
    if (line || this.#ended) {
      this.#out.write(question + (line ? `${line.text}\n` : ''));
      return Promise.resolve(line ?? this.#ended);
    }
    // With the cursor where it is: half an answer may have been typed ahead.
    this.#rl.prompt(true);
    return new Promise((resolve) => (this.#waiting = resolve));
  }

  /** Says something above the question, which stays with what was typed so far. */
  interject(text) {
    if (!this.#waiting) {
      this.#out.write(`\n${text}\n`);
      return;
    }
    readline.cursorTo(this.#out, 0);
    readline.clearScreenDown(this.#out);
    this.#out.write(`${text}\n`);
    this.#rl.prompt(true);
  }

  close() {
    this.#rl.close();
  }

  #take(answer) {
    if (!this.#waiting) {
      this.#lines.push(answer);
      return;
    }
    const resolve = this.#waiting;
    this.#waiting = null;
    resolve(answer);
  }

  #end(answer) {
    this.#ended ??= answer;
    if (this.#waiting) this.#take(this.#ended);
  }
}

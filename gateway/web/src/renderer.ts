// Which of xterm.js' renderers draws: WebGL where it works, its DOM renderer everywhere else and whenever WebGL is lost.

import { WebglAddon } from '@xterm/addon-webgl';
import type { Terminal } from '@xterm/xterm';

export function chooseRenderer(term: Terminal, host: HTMLElement): void {
  if (!document.createElement('canvas').getContext('webgl2')) return;
  whenPixelsAreTrue(host, () => {
    try {
      const webgl = new WebglAddon();
      webgl.onContextLoss(() => webgl.dispose());
      term.loadAddon(webgl);
    } catch {
      // The DOM renderer is in place.
    }
  });
}

/**
 * The WebGL renderer trusts what the browser says of an element's device pixels. A browser that plays a phone, as
 * developers' tools do, says CSS pixels instead; half of the terminal would then be drawn outside of its canvas.
 */
function whenPixelsAreTrue(host: HTMLElement, then: () => void): void {
  const observer = new ResizeObserver(([entry]) => {
    observer.disconnect();
    const said = entry?.devicePixelContentBoxSize?.[0]?.inlineSize;
    const expected = host.clientWidth * window.devicePixelRatio;
    if (said === undefined || Math.abs(said - expected) <= 2) then();
  });
  try {
    observer.observe(host, { box: 'device-pixel-content-box' });
  } catch {
    // Without such a box xterm.js computes the pixels itself.
    then();
  }
}

// SPDX-License-Identifier: Apache-2.0
// Success by epoch, as bars: the learning curve.
const HEIGHT_REM = 3.2;

// points: [epoch, share 0..1, of how many episodes]; fewer than two are no curve.
export function showBars(figure, points) {
  const shown = JSON.stringify(points);
  if (figure.dataset.shown === shown) return;
  figure.dataset.shown = shown;
  figure.hidden = points.length < 2;
  const bars = figure.querySelector(".bars");
  bars.setAttribute("aria-label", points.map(([epoch, share, of]) => `epoch ${epoch}: ${Math.round(share * of)} of ${of}`).join(", "));
  bars.replaceChildren(...points.map(([epoch, share, of]) => {
    const box = document.createElement("div");
    const bar = document.createElement("i");
    bar.style.height = `${share * HEIGHT_REM}rem`;
    const [above, below] = [document.createElement("span"), document.createElement("span")];
    above.textContent = `${Math.round(share * of)}/${of}`;
    below.textContent = epoch;
    box.append(above, bar, below);
    return box;
  }));
}
